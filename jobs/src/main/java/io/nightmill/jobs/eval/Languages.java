package io.nightmill.jobs.eval;

import com.cybozu.labs.langdetect.Detector;
import com.cybozu.labs.langdetect.DetectorFactory;
import com.cybozu.labs.langdetect.LangDetectException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** What language a text is in, by the library whose Python port IFEval uses. */
final class Languages {
    private static final String[] KNOWN =
            ("af ar bg bn cs da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv mk ml mr ne"
                            + " nl no pa pl pt ro ru sk sl so sq sv sw ta te th tl tr uk ur vi zh-cn zh-tw")
                    .split(" ");

    private Languages() {}

    static {
        List<String> profiles = new ArrayList<>();
        for (String language : KNOWN) {
            try (InputStream in = DetectorFactory.class.getResourceAsStream("/profiles/" + language)) {
                profiles.add(new String(in.readAllBytes(), StandardCharsets.UTF_8));
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
        try {
            DetectorFactory.loadProfile(profiles);
        } catch (LangDetectException e) {
            throw new IllegalStateException(e);
        }
        // It draws at random; every run is to draw alike.
        DetectorFactory.setSeed(0);
    }

    /** True, as IFEval has it, where a text has nothing to tell by. */
    static boolean is(String text, String language) {
        try {
            Detector detector = DetectorFactory.create();
            detector.append(text);
            return detector.detect().equals(language);
        } catch (LangDetectException e) {
            return true;
        }
    }
}
