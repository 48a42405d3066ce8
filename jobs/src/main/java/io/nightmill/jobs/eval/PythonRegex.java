package io.nightmill.jobs.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/** Python's {@code re} on Java's: what is spelled otherwise is translated, and classes of characters are Unicode's. */
record PythonRegex(Pattern pattern) {
    private static final int FLAGS = Pattern.UNICODE_CHARACTER_CLASS | Pattern.UNIX_LINES;

    /** @throws IllegalArgumentException naming the pattern, if Java cannot read it */
    static PythonRegex compile(String python) {
        return compile(python, 0);
    }

    static PythonRegex compile(String python, int flags) {
        try {
            return new PythonRegex(Pattern.compile(translated(python), FLAGS | flags));
        } catch (PatternSyntaxException e) {
            throw new IllegalArgumentException(
                    "Cannot use the regular expression '%s': %s".formatted(python, e.getDescription()), e);
        }
    }

    /** Names of groups and classes of characters: Java nests classes and intersects them, Python does neither. */
    private static String translated(String python) {
        StringBuilder java = new StringBuilder();
        boolean inClass = false;
        for (int i = 0; i < python.length(); i++) {
            char c = python.charAt(i);
            if (c == '\\' && i + 1 < python.length()) {
                char next = python.charAt(++i);
                java.append(next == 'Z' && !inClass ? "\\z" : "\\" + next);
            } else if (!inClass && python.startsWith("(?P<", i)) {
                java.append("(?<");
                i += 3;
            } else if (!inClass && python.startsWith("(?P=", i)) {
                int end = python.indexOf(')', i);
                java.append("\\k<").append(python, i + 4, end).append('>');
                i = end;
            } else if (!inClass && c == '[') {
                inClass = true;
                java.append('[');
                if (i + 1 < python.length() && python.charAt(i + 1) == '^') {
                    java.append('^');
                    i++;
                }
                // A bracket that comes first is one of the characters.
                if (i + 1 < python.length() && python.charAt(i + 1) == ']') {
                    java.append("\\]");
                    i++;
                }
            } else if (inClass && c == ']') {
                inClass = false;
                java.append(']');
            } else if (inClass && (c == '[' || c == '&')) {
                java.append('\\').append(c);
            } else {
                java.append(c);
            }
        }
        return java.toString();
    }

    /** {@code findall}, each match as the list of its groups, or of itself where it has none; a group without a match is empty. */
    List<List<String>> findAll(String text) {
        List<List<String>> found = new ArrayList<>();
        pattern.matcher(text).results().forEach(match -> found.add(groups(match)));
        return found;
    }

    private static List<String> groups(MatchResult match) {
        List<String> groups = new ArrayList<>();
        for (int i = 1; i <= match.groupCount(); i++) {
            groups.add(match.group(i) == null ? "" : match.group(i));
        }
        return groups.isEmpty() ? List.of(match.group()) : groups;
    }

    /** {@code re.sub(self, "", text)}. */
    String removeFrom(String text) {
        return pattern.matcher(text).replaceAll("");
    }
}
