#define LANES 1
#define WIDEN widenBlocks
#include "blocks.cl"
#include "widen.cl"
