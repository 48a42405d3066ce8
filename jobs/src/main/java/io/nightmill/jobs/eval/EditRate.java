package io.nightmill.jobs.eval;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Edits, with shifts of phrases, that make a text its reference: Tercom's greedy search (Snover et al., 2006) in the bounds and the
 * order of preferences that sacrebleu gives it.
 */
final class EditRate {
    private static final int LONGEST_SHIFT = 10;
    private static final int FARTHEST_SHIFT = 50;
    private static final int MOST_CANDIDATES = 1000;
    private static final int BEAM = 25;
    private static final int UNREACHED = Integer.MAX_VALUE / 2;

    private enum Op {
        KEEP,
        SUBSTITUTE,
        DELETE,
        INSERT
    }

    private final String[] reference;
    private int candidates;

    EditRate(String[] reference) {
        this.reference = reference;
    }

    int edits(String[] answer) {
        if (reference.length == 0) {
            return answer.length;
        }
        String[] words = answer;
        int shifts = 0;
        while (true) {
            Shift best = bestShift(words);
            if (candidates >= MOST_CANDIDATES || best == null || best.gain <= 0) {
                return shifts + distance(words).cost;
            }
            shifts++;
            words = best.words;
        }
    }

    /** @param trace operations that make the words the reference */
    private record Distance(int cost, List<Op> trace) {}

    /** Levenshtein's distance near the diagonal. */
    private Distance distance(String[] words) {
        int[][] cost = new int[words.length + 1][reference.length + 1];
        Op[][] op = new Op[words.length + 1][reference.length + 1];
        for (int[] row : cost) {
            Arrays.fill(row, UNREACHED);
        }
        for (int j = 0; j <= reference.length; j++) {
            cost[0][j] = j;
            op[0][j] = Op.INSERT;
        }
        double ratio = words.length == 0 ? 1 : (double) reference.length / words.length;
        int beam = BEAM < ratio / 2 ? (int) Math.ceil(ratio / 2 + BEAM) : BEAM;
        for (int i = 1; i <= words.length; i++) {
            int diagonal = (int) Math.floor(i * ratio);
            int from = Math.max(0, diagonal - beam);
            int to = i == words.length ? reference.length : Math.min(reference.length, diagonal + beam - 1);
            for (int j = from; j <= to; j++) {
                if (j > 0) {
                    boolean same = words[i - 1].equals(reference[j - 1]);
                    offer(cost, op, i, j, cost[i - 1][j - 1] + (same ? 0 : 1), same ? Op.KEEP : Op.SUBSTITUTE);
                }
                offer(cost, op, i, j, cost[i - 1][j] + 1, Op.DELETE);
                if (j > 0) {
                    offer(cost, op, i, j, cost[i][j - 1] + 1, Op.INSERT);
                }
            }
        }
        List<Op> trace = new ArrayList<>();
        int i = words.length;
        int j = reference.length;
        while (i > 0 || j > 0) {
            Op step = op[i][j];
            trace.add(0, step);
            i -= step == Op.INSERT ? 0 : 1;
            j -= step == Op.DELETE ? 0 : 1;
        }
        return new Distance(cost[words.length][reference.length], trace);
    }

    /** The first of equally cheap operations stays. */
    private static void offer(int[][] cost, Op[][] op, int i, int j, int price, Op name) {
        if (price < cost[i][j]) {
            cost[i][j] = price;
            op[i][j] = name;
        }
    }

    private record Shift(int gain, int length, int start, int target, String[] words) {
        /** More gain, then longer, then earlier, then to an earlier place. */
        boolean beats(@Nullable Shift other) {
            if (other == null) {
                return true;
            }
            int[] mine = {gain, length, -start, -target};
            int[] theirs = {other.gain, other.length, -other.start, -other.target};
            return Arrays.compare(mine, theirs) > 0;
        }
    }

    private @Nullable Shift bestShift(String[] words) {
        Distance before = distance(words);
        int[] wordOf = new int[reference.length];
        boolean[] referenceWrong = new boolean[reference.length];
        boolean[] wordWrong = new boolean[words.length];
        int word = -1;
        int place = -1;
        for (Op op : before.trace) {
            word += op == Op.INSERT ? 0 : 1;
            place += op == Op.DELETE ? 0 : 1;
            if (op != Op.DELETE) {
                wordOf[place] = word;
                referenceWrong[place] = op != Op.KEEP;
            }
            if (op != Op.INSERT) {
                wordWrong[word] = op != Op.KEEP;
            }
        }
        Shift best = null;
        for (int start = 0; start < words.length; start++) {
            for (int at = Math.max(0, start - FARTHEST_SHIFT);
                    at < Math.min(reference.length, start + FARTHEST_SHIFT + 1);
                    at++) {
                int most = Math.min(LONGEST_SHIFT, Math.min(words.length - start, reference.length - at));
                for (int length = 1;
                        length <= most && words[start + length - 1].equals(reference[at + length - 1]);
                        length++) {
                    boolean isNeeded = any(wordWrong, start, length) && any(referenceWrong, at, length);
                    boolean isWithin = start <= wordOf[at] && wordOf[at] < start + length;
                    if (isNeeded && !isWithin) {
                        best = best(best, words, before.cost, wordOf, start, at, length);
                    }
                    if (candidates >= MOST_CANDIDATES) {
                        return best;
                    }
                }
            }
        }
        return best;
    }

    private @Nullable Shift best(
            @Nullable Shift known, String[] words, int cost, int[] wordOf, int start, int at, int length) {
        Shift best = known;
        int last = -1;
        for (int offset = -1; offset < length && at + offset < reference.length; offset++) {
            int target = at + offset == -1 ? 0 : wordOf[at + offset] + 1;
            if (target == last) {
                continue;
            }
            last = target;
            String[] shifted = shifted(words, start, length, target);
            Shift shift = new Shift(cost - distance(shifted).cost, length, start, target, shifted);
            candidates++;
            best = shift.beats(best) ? shift : best;
        }
        return best;
    }

    private static boolean any(boolean[] flags, int from, int length) {
        for (int i = from; i < from + length; i++) {
            if (flags[i]) {
                return true;
            }
        }
        return false;
    }

    private static String[] shifted(String[] words, int start, int length, int target) {
        List<String> all = Arrays.asList(words);
        List<String> moved = all.subList(start, start + length);
        List<String> result = new ArrayList<>();
        if (target < start) {
            result.addAll(all.subList(0, target));
            result.addAll(moved);
            result.addAll(all.subList(target, start));
            result.addAll(all.subList(start + length, all.size()));
        } else {
            // Behind its place; a target within the phrase counts from the phrase's end.
            int end = target > start + length ? target : Math.min(all.size(), length + target);
            result.addAll(all.subList(0, start));
            result.addAll(all.subList(start + length, end));
            result.addAll(moved);
            result.addAll(all.subList(end, all.size()));
        }
        return result.toArray(new String[0]);
    }
}
