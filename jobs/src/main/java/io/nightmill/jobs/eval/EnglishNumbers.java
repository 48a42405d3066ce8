package io.nightmill.jobs.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Numbers written in English words, as the word2number package reads them. */
final class EnglishNumbers {
    private static final Map<String, Integer> SMALL = Map.ofEntries(
            Map.entry("zero", 0),
            Map.entry("one", 1),
            Map.entry("two", 2),
            Map.entry("three", 3),
            Map.entry("four", 4),
            Map.entry("five", 5),
            Map.entry("six", 6),
            Map.entry("seven", 7),
            Map.entry("eight", 8),
            Map.entry("nine", 9),
            Map.entry("ten", 10),
            Map.entry("eleven", 11),
            Map.entry("twelve", 12),
            Map.entry("thirteen", 13),
            Map.entry("fourteen", 14),
            Map.entry("fifteen", 15),
            Map.entry("sixteen", 16),
            Map.entry("seventeen", 17),
            Map.entry("eighteen", 18),
            Map.entry("nineteen", 19),
            Map.entry("twenty", 20),
            Map.entry("thirty", 30),
            Map.entry("forty", 40),
            Map.entry("fifty", 50),
            Map.entry("sixty", 60),
            Map.entry("seventy", 70),
            Map.entry("eighty", 80),
            Map.entry("ninety", 90));
    private static final Map<String, Long> SCALES = Map.of(
            "thousand", 1_000L, "million", 1_000_000L, "billion", 1_000_000_000L, "trillion", 1_000_000_000_000L);
    private static final Pattern NUMBER;

    static {
        List<String> words = new ArrayList<>(SMALL.keySet());
        words.addAll(SCALES.keySet());
        words.add("hundred");
        // The longest first, so that "sixteen" is not "six".
        words.sort((a, b) -> b.length() - a.length());
        String word = "(?:" + String.join("|", words) + ")";
        NUMBER = Pattern.compile("\\b%s(?:(?:[ ,-]|\\band\\b)+%s)*\\b".formatted(word, word));
    }

    private EnglishNumbers() {}

    /** The first number in a text, or null. */
    static @Nullable Long first(String text) {
        Matcher matcher = NUMBER.matcher(text.toLowerCase(Locale.ROOT));
        return matcher.find() ? value(matcher.group()) : null;
    }

    private static long value(String number) {
        long total = 0;
        long part = 0;
        for (String word : number.split("[ ,-]+")) {
            if (SMALL.containsKey(word)) {
                part += SMALL.get(word);
            } else if (word.equals("hundred")) {
                part = Math.max(1, part) * 100;
            } else if (SCALES.containsKey(word)) {
                total += Math.max(1, part) * SCALES.get(word);
                part = 0;
            }
        }
        return total + part;
    }
}
