package io.nightmill.kernels;

import io.nightmill.tensor.Batch;
import io.nightmill.tensor.Buffer;
import io.nightmill.tensor.KvType;
import io.nightmill.tensor.Matrix;
import io.nightmill.tensor.State;
import io.nightmill.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The operations of a decoder. Output first; an operation allocates nothing that outlives it and writes every value of its
 * output. A row's bits depend on that row's inputs alone: not on the other rows, their number, or the thread count.
 */
public interface Backend extends AutoCloseable {

    /** Name of the implementation and of its numerics, for reports and resume checks. */
    String name();

    Buffer allocate(long values);

    /**
     * Room for a layer's memory of sequences.
     *
     * @param rows tokens of a paged state (whole pages of {@value Batch#PAGE_TOKENS}), sequences of a fixed one
     * @param type of the values of a paged state; a fixed one is float32
     */
    State allocate(State.Spec spec, int rows, KvType type);

    void upload(Tensor out, float[] values);

    void download(Tensor in, float[] values);

    /** Copies rows: {@code out[i] = in[rows[i]]}. */
    void gather(Tensor out, Tensor in, int[] rows);

    /** Copies {@code count} rows of a state, whole pages of a paged one, to another place in it. */
    void copyRows(State state, int from, int to, int count);

    /** {@code out[:, outColumn + d] = in[:, inColumn + d]} for {@code d < count}. */
    void copyColumns(Tensor out, int outColumn, Tensor in, int inColumn, int count);

    /** {@code out[i] = table[ids[i]] * scale}; {@code out} is {@code [tokens, width]}. */
    void embed(Tensor out, Matrix table, int[] ids, float scale);

    /**
     * Rows sorted by group meet each product's weights: {@code out[i, column + n] = sum_k x[i, k] w_g[n, k] + bias_g[n]} for
     * the rows of group {@code g}. Products of the same rows are one call, so that the rows are brought into the kernels'
     * form once.
     *
     * @param x {@code [tokens, in]}
     * @param routes each expert's rows are a group, as {@link #dispatch} has sorted them; null is one group of all rows
     */
    void matmul(Tensor x, @Nullable Routes routes, List<Product> products);

    /** One product of all rows: {@code out[:, column + n] = sum_k x[:, k] w[n, k] + bias[n]}. */
    default void matmul(Tensor out, int column, Tensor x, Matrix w, @Nullable Tensor bias) {
        matmul(x, null, List.of(new Product(out, column, List.of(w), bias)));
    }

    /**
     * A product per head: {@code out[t, h] = x[t, h] w_h^T}, for latent attention.
     *
     * @param out {@code [tokens, heads * out]}
     * @param x {@code [tokens, heads * stride]}, of which each head's first {@code in} values count
     */
    void headMatmul(Tensor out, Tensor x, List<Matrix> heads);

    /**
     * {@code out = x / sqrt(mean(x^2) + eps) * weight} per row (Zhang and Sennrich 2019, arXiv 1910.07467).
     *
     * @param weight {@code [weightRows, width]}: row {@code i} meets weight row {@code i % weightRows}, so that the groups of
     *     a row can be rows
     */
    void rmsNorm(Tensor out, Tensor x, @Nullable Tensor weight, float eps);

    /** {@code out = (x - mean) / sqrt(var + eps) * weight + bias} per row, with rows of weights as in {@link #rmsNorm}. */
    void layerNorm(Tensor out, Tensor x, Tensor weight, @Nullable Tensor bias, float eps);

    /** {@code out = x + scale * y}; row {@code i} meets row {@code i % rows} of {@code y}. */
    void add(Tensor out, Tensor x, Tensor y, float scale);

    /** {@code out = x * y}; row {@code i} meets row {@code i % rows} of {@code y}, which is as wide as {@code x} or one value. */
    void multiply(Tensor out, Tensor x, Tensor y);

    /** {@code out = x + (y - x) * mix}; row {@code i} meets row {@code i % rows} of {@code mix}. */
    void mix(Tensor out, Tensor x, Tensor y, Tensor mix);

    /** {@code out = x * factor}. */
    void scale(Tensor out, Tensor x, float factor);

    /** {@code out[i] = sum_d x[i, d] y[i, d]}; {@code out} is {@code [rows, 1]}. */
    void dotRows(Tensor out, Tensor x, Tensor y);

    /** Softmax of each row. */
    void softmax(Tensor out, Tensor x);

    void activate(Tensor out, Tensor x, Activation activation);

    /** Gate and up of a feed-forward: {@code out[t, i] = act(gate) * up}, both halves of {@code x [tokens, 2 * inner]}. */
    void glu(Tensor out, Tensor x, Glu glu);

    /** {@code x = max(low, min(x, high))}. */
    void clamp(Tensor x, float low, float high);

    /** {@code x = cap * tanh(x / cap)}. */
    void softcap(Tensor x, float cap);

    /**
     * Rotary tables: {@code table[t] = [cos(frequency * position) * factor, sin(frequency * position) * factor]} for the tokens
     * {@code from .. to}, angles in float32.
     *
     * @param table {@code [tokens, 2 * frequencies]}
     * @param period positions begin anew after so many tokens; 0 is never
     */
    void rotary(Tensor table, Batch batch, int from, int to, float[] frequencies, float factor, int period);

    /** {@code out [tokens, 1]}: 0 for the first token of a sequence, 1 for the others. */
    void started(Tensor out, Batch batch);

    /**
     * Rotates the first {@code table.width} values of every head (Su et al. 2021, arXiv 2104.09864).
     *
     * @param x {@code [tokens, heads * stride]}, rotated in place from value {@code offset} of each head on
     * @param table {@code [tokens, rotary]}: cosines, then sines, {@code rotary / 2} each
     */
    void rope(Tensor x, Tensor table, int stride, int offset, boolean interleaved);

    /** Writes {@code rows[t]}, {@code [tokens, width]}, to the pages of its sequence. */
    void append(State state, Tensor rows, Batch batch);

    /**
     * Causal softmax attention over paged keys and values.
     *
     * @param out {@code [tokens, heads * valueDim]}
     * @param query {@code [tokens, heads * keyDim]}
     */
    void attend(Tensor out, Tensor query, State keys, State values, Attention attention, Batch batch);

    /**
     * A convolution along each sequence, one filter per column: {@code out[t, c] = sum_j weight[c, j] x[t - kernel + 1 + j, c]},
     * with zeros before the first token.
     *
     * @param weight {@code [width, kernel]}
     * @param bias {@code [1, width]}
     * @param tail the last {@code kernel - 1} inputs, {@code (kernel - 1) * width} values
     */
    void causalConv(Tensor out, Tensor x, Tensor weight, @Nullable Tensor bias, State tail, Batch batch);

    /** {@code out[t] = x[t - 1]} along each sequence, zeros for its first token; {@code last} keeps one row. */
    void shift(Tensor out, Tensor x, State last, Batch batch);

    /** {@code h[t] = decay[t] * h[t - 1] + x[t]} per column of each sequence; {@code out = h}. */
    void scan(Tensor out, Tensor decay, Tensor x, State state, Batch batch);

    /**
     * The selective scan of Mamba (Gu and Dao 2023, arXiv 2312.00752), whose decay depends on column and state alike:
     * {@code h[n, c] = exp(dt[c] a[n, c]) h[n, c] + dt[c] b[n] x[c]; out[c] = sum_n c[n] h[n, c]}.
     *
     * @param x {@code [tokens, width]}
     * @param dt {@code [tokens, width]}, positive
     * @param a {@code [stateSize, width]}, negative
     * @param b {@code [tokens, stateSize]}
     * @param c {@code [tokens, stateSize]}
     * @param state {@code stateSize * width} values
     */
    void selectiveScan(Tensor out, Tensor x, Tensor dt, Tensor a, Tensor b, Tensor c, State state, Batch batch);

    /**
     * A linear recurrence over a matrix per head: {@code S = decay S + write; out = S^T query}. See {@link Recurrence}.
     *
     * @param out {@code [tokens, heads * valueDim]}
     * @param state {@link Recurrence#stateWidth} values
     */
    void recur(Tensor out, Update update, Recurrence recurrence, State state, Batch batch);

    /**
     * The additive recurrence with a matrix per scale of time (log-linear attention, Guo et al. 2025, arXiv 2506.04761): at
     * position {@code p}, level 0 holds the token itself and level {@code l > 0} the {@code 2^(l - 1)} tokens that bit
     * {@code l - 1} of {@code p} stands for; {@code out = sum_l weight_l S_l^T query}. The last level takes all that is
     * older.
     *
     * @param update of {@link Recurrence.Rule#ADD}, its decay {@code [tokens, heads]}
     * @param weights {@code [tokens, heads * levels]}
     * @param recurrence its heads and widths
     * @param state {@code heads * levels * keyDim * valueDim} values
     */
    void recurByLevel(Tensor out, Update update, Tensor weights, Recurrence recurrence, State state, Batch batch);

    /**
     * Ridge regression along each sequence (MesaNet, von Oswald et al. 2025, arXiv 2506.05233): with {@code H = decay H +
     * beta k k^T} and {@code S = decay S + beta k v^T} per head, {@code out = S^T (H + diag(ridge))^-1 query}.
     *
     * @param update its beta and its decay are {@code [tokens, heads]}
     * @param ridge {@code [heads, keyDim]}, positive
     * @param state {@code heads * keyDim * (keyDim + valueDim)} values
     */
    void regress(Tensor out, Update update, Tensor ridge, State state, Batch batch);

    /**
     * Test-time training (Sun et al. 2024, arXiv 2407.04620): each head's state is a small model, and reading a key is a
     * gradient step on it. See {@link FastWeights}.
     *
     * @param out {@code [tokens, heads * headDim]}
     * @param query {@code [tokens, heads * headDim]}; so are key and value
     * @param rate {@code [tokens, heads]}: each token's learning rate
     * @param state {@link FastWeights#stateWidth} values
     */
    void trainAndRead(
            Tensor out,
            Tensor query,
            Tensor key,
            Tensor value,
            Tensor rate,
            FastWeights model,
            State state,
            Batch batch);

    /**
     * Judges one token per row of logits {@code [rows, vocabulary]}: its log-probability, and its rank (1 is the most
     * likely; equal logits rank by id).
     *
     * @param targets the tokens, or -1 for the most likely one
     */
    void pick(Picks out, Tensor logits, int[] targets);

    /**
     * Draws tokens from rows of logits {@code [rows, vocabulary]}.
     *
     * @param tokens what is drawn
     */
    void sample(int[] tokens, Tensor logits, List<Draw> draws);

    /** A row of {@code out} for each edit: a row of the logits as the edit changes it. */
    void edit(Tensor out, Tensor logits, List<Edit> edits);

    /**
     * The likeliest tokens of a row of logits, best first and equal ones by id, and their log-probabilities.
     *
     * @param tokens as many as are wanted
     */
    void top(int[] tokens, float[] logprobs, Tensor row);

    /**
     * Chooses each row's experts from its router logits {@code [tokens, experts]}.
     *
     * @param choiceBias {@code [1, experts]}
     */
    Routes route(Tensor logits, @Nullable Tensor choiceBias, Router router);

    /** Copies each token's row to its experts: {@code out [tokens * topK, width]} is sorted by expert, then by token. */
    void dispatch(Tensor out, Tensor x, Routes routes);

    /**
     * All of a layer's experts in one operation, where a backend has one.
     *
     * @param out {@code [tokens, hidden]}: the weighted sums of the experts' results
     * @param x {@code [tokens, hidden]}
     * @return false where nothing was done: {@link #dispatch}, products, the activation and {@link #combine} give the same bits
     */
    default boolean experts(Tensor out, Tensor x, Routes routes, ExpertWeights experts) {
        return false;
    }

    /**
     * Sums each token's expert outputs with their weights, in an order that depends on its choices alone.
     *
     * @param x {@code [tokens * topK, width]}, as {@link #dispatch} has sorted it
     */
    void combine(Tensor out, Tensor x, Routes routes);

    /** Adds to {@code load [1, experts]} how often each expert was chosen. */
    void countChoices(Tensor load, Routes routes);

    @Override
    void close();

    /**
     * @param out {@code [tokens, at least column + w.out]}
     * @param weights one per group of rows, of equal shapes
     * @param biases {@code [groups, w.out]}
     */
    record Product(Tensor out, int column, List<Matrix> weights, @Nullable Tensor biases) {}

    /**
     * @param heads query heads; {@code heads / kvHeads} of them share a key head
     * @param window keys that a query sees, itself included; 0 is all
     * @param softcap {@code cap * tanh(score / cap)}; 0 is none
     * @param sinks a logit per head that takes part in the softmax without a value, {@code [1, heads]}
     * @param lead first keys of a sequence that every query sees, whatever the window
     */
    record Attention(
            int heads,
            int kvHeads,
            int keyDim,
            int valueDim,
            float scale,
            int window,
            float softcap,
            @Nullable Tensor sinks,
            int lead) {
        public Attention(
                int heads,
                int kvHeads,
                int keyDim,
                int valueDim,
                float scale,
                int window,
                float softcap,
                @Nullable Tensor sinks) {
            this(heads, kvHeads, keyDim, valueDim, scale, window, softcap, sinks, 0);
        }

        public Attention {
            if (kvHeads < 1 || heads % kvHeads != 0) {
                throw new IllegalArgumentException(
                        "Cannot share %d key heads among %d query heads".formatted(kvHeads, heads));
            }
        }
    }

    /**
     * @param interleaved gate and up alternate, else the gate is the first half
     * @param limit gpt-oss's form: the gate is clamped above and up on both sides, then
     *     {@code (up + 1) * gate * sigmoid(alpha * gate)}; 0 is none
     */
    record Glu(Activation activation, boolean interleaved, float limit, float alpha) {
        public static Glu of(Activation activation) {
            return new Glu(activation, false, 0, 0);
        }
    }

    /**
     * How a token is drawn from {@code softmax(logits / temperature)}. Tokens that are less likely than {@code minP} times the likeliest do not
     * take part, nor those beyond the {@code topK} likeliest; of the others, from the likeliest on, as few do as have {@code topP} of their
     * sum. Equal logits rank by id. The token is the first, by id, at which the running sum exceeds {@code uniform} times the sum.
     *
     * @param row of the logits
     * @param temperature 0 takes the likeliest token
     * @param topK 0 or less is all
     * @param uniform in [0, 1)
     */
    record Draw(int row, double temperature, int topK, double topP, double minP, double uniform) {}

    /**
     * What a request makes of a row of logits before a token is drawn. A named token's logit becomes, step by step, {@code l + shift};
     * {@code l / penalty} where it is positive, else {@code l * penalty}; {@code l - less}; {@code l - more}.
     *
     * @param row of the logits
     * @param only whether tokens that are not named are ruled out
     * @param ids of the named tokens, each once
     * @param rules {@code [ids, 4]}: shift (negative infinity rules a token out), penalty (1 is none), less, more
     */
    record Edit(int row, boolean only, int[] ids, float[] rules) {
        /** The logit of the {@code i}th named token. */
        float changed(float logit, int i) {
            float shifted = logit + rules[4 * i];
            float penalty = rules[4 * i + 1];
            float held = shifted > 0 ? shifted / penalty : shifted * penalty;
            return held - rules[4 * i + 2] - rules[4 * i + 3];
        }
    }

    /** The judged tokens of each row. */
    record Picks(int[] tokens, float[] logprobs, int[] ranks) {
        public static Picks of(int rows) {
            return new Picks(new int[rows], new float[rows], new int[rows]);
        }
    }

    /** The experts of each token, where the backend that chose them keeps them until it chooses again. */
    interface Routes {
        int topK();

        /** Numbers of the experts, {@code [tokens, topK]} row-major. */
        int[] experts();

        /** Their weights, {@code [tokens, topK]}. */
        float[] weights();
    }

    /**
     * How router logits become choices and weights.
     *
     * @param groups experts are in so many equal groups, of which {@code topGroups} may be chosen from; 1 is none
     * @param maskedScore score of the experts outside the chosen groups
     * @param scale factor on the final weights
     * @param keepsBias whether the bias of the choice stays in the weights
     * @param jitter of the sparse mixer
     */
    record Router(
            int experts,
            int topK,
            Scoring scoring,
            boolean renormalize,
            int groups,
            int topGroups,
            GroupScore groupScore,
            float maskedScore,
            float scale,
            boolean keepsBias,
            float jitter) {
        public enum Scoring {
            /** Softmax over all experts, then the choice. */
            SOFTMAX,
            SIGMOID,
            /** The choice, then softmax over the chosen. */
            SOFTMAX_OF_CHOSEN,
            /**
             * Each choice's weight is its softmax among the experts not chosen before it that are within twice the jitter
             * of it, relatively (Liu et al. 2023, arXiv 2310.00811).
             */
            SPARSE_MIXER
        }

        public enum GroupScore {
            MAX,
            SUM_OF_TOP_2
        }

        public Router {
            if (topK < 1
                    || groups < 1
                    || experts % groups != 0
                    || topGroups < 1
                    || topGroups > groups
                    || topK > experts / groups * topGroups) {
                throw new IllegalArgumentException("Cannot route to %d of %d experts in %d of %d groups"
                        .formatted(topK, experts, topGroups, groups));
            }
        }

        public static Router plain(int experts, int topK, Scoring scoring, boolean renormalize) {
            return new Router(experts, topK, scoring, renormalize, 1, 1, GroupScore.MAX, 0, 1, false, 0);
        }
    }
}
