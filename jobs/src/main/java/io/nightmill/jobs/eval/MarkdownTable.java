package io.nightmill.jobs.eval;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/** Tables as pytablewriter prints them for the harness: headers in the middle, columns of numbers on the right. */
final class MarkdownTable {
    private MarkdownTable() {}

    static String of(List<String> headers, List<List<String>> rows) {
        int columns = headers.size();
        int[] widths = new int[columns];
        boolean[] right = new boolean[columns];
        for (int c = 0; c < columns; c++) {
            int at = c;
            List<String> cells = rows.stream().map(row -> row.get(at)).toList();
            widths[c] = Math.max(
                    3,
                    Math.max(
                            length(headers.get(c)),
                            cells.stream().mapToInt(MarkdownTable::length).max().orElse(0)));
            right[c] = cells.stream().anyMatch(MarkdownTable::isNumber)
                    && cells.stream().allMatch(cell -> cell.isBlank() || isNumber(cell));
        }
        List<String> lines = new ArrayList<>();
        StringBuilder head = new StringBuilder("|");
        StringBuilder rule = new StringBuilder("|");
        for (int c = 0; c < columns; c++) {
            int space = widths[c] - length(headers.get(c));
            head.append(" ".repeat(space / 2))
                    .append(headers.get(c))
                    .append(" ".repeat(space - space / 2))
                    .append('|');
            rule.append("-".repeat(widths[c] - (right[c] ? 1 : 0))).append(right[c] ? ":|" : "|");
        }
        lines.add(head.toString());
        lines.add(rule.toString());
        for (List<String> row : rows) {
            StringBuilder line = new StringBuilder("|");
            for (int c = 0; c < columns; c++) {
                String space = " ".repeat(widths[c] - length(row.get(c)));
                line.append(right[c] ? space + row.get(c) : row.get(c) + space).append('|');
            }
            lines.add(line.toString());
        }
        return lines.stream().collect(Collectors.joining("\n", "", "\n"));
    }

    private static int length(String text) {
        return text.codePointCount(0, text.length());
    }

    private static boolean isNumber(String cell) {
        return cell.strip().matches("[-+]?\\d+(\\.\\d+)?");
    }
}
