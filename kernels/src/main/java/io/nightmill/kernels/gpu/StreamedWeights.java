package io.nightmill.kernels.gpu;

import io.nightmill.kernels.NativeMemory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * Weights that a device does not hold all of: packed as {@link DeviceWeights} has them, in host memory, and brought to the device beside
 * its kernels. Weights that every step meets go through two areas in turn: while kernels read one, the other is filled with what came next in
 * the step before. Experts have caches, of which the least recently used gives up its place, and only chosen ones are brought.
 */
public final class StreamedWeights {
    /**
     * What it took so far.
     *
     * @param bytes brought to the device
     * @param hits experts that a product met in the cache
     * @param misses those that had to be brought
     */
    public record Cost(long bytes, long hits, long misses) {
        public static final Cost NONE = new Cost(0, 0, 0);
    }

    /** What products read: one part of a weight, or an expert. The same only as itself. */
    static final class Block {
        final ByteBuffer bytes;
        final int firstOutput;
        final int outs;

        Block(ByteBuffer bytes, int firstOutput, int outs) {
            this.bytes = bytes;
            this.firstOutput = firstOutput;
            this.outs = outs;
        }
    }

    /** Memory of the device, and the events that say when it may be read, and filled again. */
    private static final class Area {
        final List<Device.Event> filled = new ArrayList<>();
        Device.@Nullable Memory memory;
        Device.@Nullable Event read;

        @Nullable
        Block holds;
    }

    /** Places for experts of one size; the eldest is the least recently used. */
    private static final class Cache {
        final Area area = new Area();
        final LinkedHashMap<Block, Integer> placeOf = new LinkedHashMap<>(16, 0.75f, true);
        final int places;

        Cache(int places) {
            this.places = places;
        }
    }

    private final Device device;
    private final NativeMemory host = new NativeMemory();
    private final Area[] areas = {new Area(), new Area()};
    private final Map<Block, Block> next = new IdentityHashMap<>();
    private final Map<Integer, Cache> caches = new HashMap<>();
    /** Bytes of one cache, at most, unless an expert has more. */
    private final long cacheBytes;

    private final AtomicLong bytes = new AtomicLong();
    private final AtomicLong hits = new AtomicLong();
    private final AtomicLong misses = new AtomicLong();
    private Device.@Nullable Memory table;
    private @Nullable Block last;

    StreamedWeights(Device device, long cacheBytes) {
        this.device = device;
        this.cacheBytes = Math.min(cacheBytes, Math.min(device.mostBytes(), 4L * Integer.MAX_VALUE));
    }

    Cost cost() {
        return new Cost(bytes.get(), hits.get(), misses.get());
    }

    /** Memory of the host to pack a block into. */
    ByteBuffer allocate(int count) {
        return host.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** The block in the device's memory, until the next but one is asked for. */
    Device.View bring(Block block) {
        Area area = areas[0].holds == block || areas[1].holds != block && last == areas[1].holds ? areas[0] : areas[1];
        if (area.holds != block) {
            fill(area, block);
        }
        await(area);
        if (last != null) {
            next.put(last, block);
        }
        last = block;
        return new Device.View(area.memory, 0, block.bytes.capacity());
    }

    /** Kernels that read a brought block have been queued: the other area may be filled with what comes next. */
    void used(Block block) {
        Area area = areas[0].holds == block ? areas[0] : areas[1];
        Area other = areas[0] == area ? areas[1] : areas[0];
        read(area);
        Block coming = next.get(block);
        if (coming != null && coming != block && other.holds != coming) {
            fill(other, coming);
        }
    }

    private void fill(Area area, Block block) {
        if (area.memory == null || area.memory.bytes() < block.bytes.capacity()) {
            area.memory = device.allocate(block.bytes.capacity());
        }
        area.holds = block;
        copy(area, 0, block);
    }

    private void copy(Area area, long at, Block block) {
        area.filled.add(device.writeBeside(area.memory, at, block.bytes, area.read));
        bytes.addAndGet(block.bytes.capacity());
    }

    /** What is queued from now on reads what the area was filled with. */
    private void await(Area area) {
        area.filled.forEach(event -> {
            device.await(event);
            event.close();
        });
        area.filled.clear();
    }

    private void read(Area area) {
        if (area.read != null) {
            area.read.close();
        }
        area.read = device.mark();
    }

    /** Runs kernels over experts that are on the device. */
    interface Use {
        /** @param placeOf of each expert among those in {@code experts}; -1 is not there now */
        void run(Device.View experts, Device.View placeOf);
    }

    /**
     * Brings chosen experts, as many at a time as there are places for.
     *
     * @param experts of one size, as they are numbered
     * @param chosen numbers, ascending, each once
     */
    void experts(List<Block> experts, int[] chosen, Use use) {
        int size = experts.get(0).bytes.capacity();
        Cache cache = caches.computeIfAbsent(size, key -> new Cache((int) Math.max(1, cacheBytes / size)));
        if (cache.area.memory == null) {
            cache.area.memory = device.allocate((long) cache.places * size);
        }
        ByteBuffer placeOf = ByteBuffer.allocate(4 * experts.size()).order(ByteOrder.nativeOrder());
        if (table == null || table.bytes() < placeOf.capacity()) {
            table = device.allocate(placeOf.capacity());
        }
        for (int from = 0; from < chosen.length; from += cache.places) {
            int to = Math.min(chosen.length, from + cache.places);
            for (int e = 0; e < experts.size(); e++) {
                placeOf.putInt(4 * e, -1);
            }
            // Those that are there first: none of them may have to go for another of the same round.
            for (int i = from; i < to; i++) {
                Integer place = cache.placeOf.get(experts.get(chosen[i]));
                if (place != null) {
                    placeOf.putInt(4 * chosen[i], place);
                    hits.incrementAndGet();
                }
            }
            for (int i = from; i < to; i++) {
                if (placeOf.getInt(4 * chosen[i]) < 0) {
                    int place = place(cache, experts.get(chosen[i]));
                    placeOf.putInt(4 * chosen[i], place);
                    copy(cache.area, (long) place * size, experts.get(chosen[i]));
                    misses.incrementAndGet();
                }
            }
            device.write(table, 0, placeOf);
            await(cache.area);
            use.run(
                    new Device.View(cache.area.memory, 0, cache.area.memory.bytes()),
                    new Device.View(table, 0, placeOf.capacity()));
            read(cache.area);
        }
    }

    private static int place(Cache cache, Block expert) {
        int place = cache.placeOf.size();
        if (place == cache.places) {
            Map.Entry<Block, Integer> eldest =
                    cache.placeOf.entrySet().iterator().next();
            place = eldest.getValue();
            cache.placeOf.remove(eldest.getKey());
        }
        cache.placeOf.put(expert, place);
        return place;
    }
}
