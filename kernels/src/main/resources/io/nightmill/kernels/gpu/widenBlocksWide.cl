#define LANES 16
#define WIDEN widenBlocksWide
#include "blocks.cl"
#include "widen.cl"
