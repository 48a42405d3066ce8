package io.nightmill.engine;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Log-probability (natural logarithm) and rank of each token of a sequence, and the likeliest alternatives. */
public final class TokenScores {
    /** The most likely tokens at one position, best first. */
    public record Top(int[] tokens, float[] logprobs) {}

    private float[] logprobs = new float[16];
    private int[] ranks = new int[16];
    private int size;
    private final List<Top> tops = new ArrayList<>();

    void add(float logprob, int rank) {
        if (size == logprobs.length) {
            logprobs = Arrays.copyOf(logprobs, 2 * size);
            ranks = Arrays.copyOf(ranks, 2 * size);
        }
        logprobs[size] = logprob;
        ranks[size++] = rank;
    }

    void add(float logprob, int rank, Top top) {
        add(logprob, rank);
        tops.add(top);
    }

    public int size() {
        return size;
    }

    public float logprob(int i) {
        return logprobs[i];
    }

    /** 1 is the most likely token. */
    public int rank(int i) {
        return ranks[i];
    }

    /** One per token, or empty where none were asked for. */
    public List<Top> tops() {
        return tops;
    }

    /** Whether every token was the most likely one at its place. */
    public boolean greedy() {
        return Arrays.stream(ranks, 0, size).allMatch(rank -> rank == 1);
    }

    /** The log-probability of the whole sequence. */
    public double sum() {
        double sum = 0;
        for (int i = 0; i < size; i++) {
            sum += logprobs[i];
        }
        return sum;
    }
}
