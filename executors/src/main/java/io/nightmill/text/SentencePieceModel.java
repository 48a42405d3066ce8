package io.nightmill.text;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.WireFormat;
import io.nightmill.text.Vocabulary.Kind;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;

/** A SentencePiece {@code tokenizer.model} as a {@code tokenizer.json}. Field numbers: sentencepiece_model.proto. */
public final class SentencePieceModel {
    private static final int UNIGRAM = 1;
    private static final int BPE = 2;
    private static final int CHAR = 4;

    private final List<String> pieces = new ArrayList<>();
    private final List<Float> scores = new ArrayList<>();
    private final List<Kind> kinds = new ArrayList<>();
    private int type = UNIGRAM;
    private int unknown = 0;
    private int begin = 1;
    private String charsMap = "";
    private boolean prefix = true;
    private boolean squeezes = true;

    private SentencePieceModel() {}

    /**
     * @param addBegin whether the begin token is put before every text
     * @throws IllegalArgumentException if the model is malformed or of a kind that is not supported
     */
    public static byte[] toTokenizerJson(byte[] model, boolean addBegin) {
        SentencePieceModel parsed = new SentencePieceModel();
        try {
            parsed.readModel(CodedInputStream.newInstance(model));
        } catch (IOException e) {
            throw new IllegalArgumentException("Cannot read a SentencePiece model: " + e.getMessage(), e);
        }
        return parsed.json(addBegin);
    }

    private byte[] json(boolean addBegin) {
        float[] scoreArray = new float[scores.size()];
        for (int i = 0; i < scoreArray.length; i++) {
            scoreArray[i] = scores.get(i);
        }
        Vocabulary vocabulary = new Vocabulary(
                pieces, scoreArray, kinds.toArray(new Kind[0]), List.of(), addBegin ? begin : -1, -1, unknown);
        TokenizerJson.Normalization normalization = new TokenizerJson.Normalization(charsMap, squeezes);
        return switch (type) {
            case UNIGRAM -> TokenizerJson.unigram(vocabulary, prefix, normalization);
            case BPE, CHAR -> TokenizerJson.sentencePieceBpe(vocabulary, prefix, normalization);
            default -> throw new IllegalArgumentException(
                    "Cannot use a SentencePiece model of type " + type + ", expected unigram (1), BPE (2) or char (4)");
        };
    }

    private void readModel(CodedInputStream in) throws IOException {
        for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
            switch (WireFormat.getTagFieldNumber(tag)) {
                case 1 -> readPiece(message(in));
                case 2 -> readTrainer(message(in));
                case 3 -> readNormalizer(message(in));
                default -> in.skipField(tag);
            }
        }
    }

    private static CodedInputStream message(CodedInputStream in) throws IOException {
        return CodedInputStream.newInstance(in.readByteArray());
    }

    private void readPiece(CodedInputStream in) throws IOException {
        String piece = "";
        float score = 0;
        Kind kind = Kind.NORMAL;
        for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
            switch (WireFormat.getTagFieldNumber(tag)) {
                case 1 -> piece = in.readString();
                case 2 -> score = in.readFloat();
                case 3 -> kind = Kind.of(in.readEnum());
                default -> in.skipField(tag);
            }
        }
        pieces.add(piece);
        scores.add(score);
        kinds.add(kind);
    }

    private void readTrainer(CodedInputStream in) throws IOException {
        for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
            switch (WireFormat.getTagFieldNumber(tag)) {
                case 3 -> type = in.readEnum();
                case 40 -> unknown = in.readInt32();
                case 41 -> begin = in.readInt32();
                default -> in.skipField(tag);
            }
        }
    }

    private void readNormalizer(CodedInputStream in) throws IOException {
        for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
            switch (WireFormat.getTagFieldNumber(tag)) {
                case 2 -> charsMap = Base64.getEncoder().encodeToString(in.readByteArray());
                case 3 -> prefix = in.readBool();
                case 4 -> squeezes = in.readBool();
                default -> in.skipField(tag);
            }
        }
    }
}
