package io.nightmill.pipeline;

import io.nightmill.pipeline.NightmillPlugin.Progress;
import io.nightmill.pipeline.RunMonitor.Snapshot;
import jakarta.servlet.http.HttpServletRequest;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.apache.spark.SparkContext;
import org.apache.spark.ui.SparkUI;
import org.apache.spark.ui.SparkUITab;
import org.apache.spark.ui.UIUtils;
import org.apache.spark.ui.WebUIPage;
import org.apache.spark.ui.WebUITab;
import org.jspecify.annotations.Nullable;
import scala.Function0;
import scala.Option;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;
import scala.runtime.AbstractFunction0;
import scala.xml.Node;
import scala.xml.XML;

/** The "Nightmill" tab of Spark's UI: how the session's latest run goes, and each executor's part in it. */
final class NightmillTab extends SparkUITab {
    private volatile @Nullable RunMonitor monitor;

    private NightmillTab(SparkUI ui) {
        super(ui, "nightmill");
        attachPage(new Page(this));
    }

    @Override
    public String name() {
        return "Nightmill";
    }

    /** Shows a run, where the session has a UI. */
    static void show(SparkContext spark, RunMonitor monitor) {
        Option<SparkUI> ui = spark.ui();
        if (ui.isEmpty()) {
            return;
        }
        for (WebUITab tab : CollectionConverters.asJava(ui.get().getTabs())) {
            if (tab instanceof NightmillTab ours) {
                ours.monitor = monitor;
                return;
            }
        }
        NightmillTab tab = new NightmillTab(ui.get());
        ui.get().attachTab(tab);
        tab.monitor = monitor;
    }

    private static final class Page extends WebUIPage {
        private static final int REFRESH_SECONDS = 5;

        private final NightmillTab tab;

        Page(NightmillTab tab) {
            super("");
            this.tab = tab;
        }

        @Override
        public Seq<Node> render(HttpServletRequest request) {
            RunMonitor monitor = tab.monitor;
            Node content =
                    XML.loadString(monitor == null ? "<p>No run yet.</p>" : html(monitor.now(), REFRESH_SECONDS));
            return inSparksPage(
                    request, CollectionConverters.asScala(List.of(content)).toSeq());
        }

        /** Spark 4.2's method has one argument more than 4.0's; what is not given is by default. */
        @SuppressWarnings("unchecked")
        private Seq<Node> inSparksPage(HttpServletRequest request, Seq<Node> content) {
            try {
                Method header = Arrays.stream(UIUtils.class.getMethods())
                        .filter(method -> method.getName().equals("headerSparkPage"))
                        .findFirst()
                        .orElseThrow();
                Function0<Seq<Node>> body = new AbstractFunction0<>() {
                    @Override
                    public Seq<Node> apply() {
                        return content;
                    }
                };
                List<Object> arguments = new ArrayList<>(List.of(request, "Nightmill", body, tab));
                while (arguments.size() < header.getParameterCount()) {
                    String otherwise = "headerSparkPage$default$" + (arguments.size() + 1);
                    arguments.add(UIUtils.class.getMethod(otherwise).invoke(null));
                }
                return (Seq<Node>) header.invoke(null, arguments.toArray());
            } catch (ReflectiveOperationException e) {
                throw new IllegalStateException("Cannot draw a page of this Spark's UI", e);
            }
        }
    }

    /** XHTML of a moment. */
    static String html(Snapshot now, int refreshSeconds) {
        StringBuilder html = new StringBuilder("<div id=\"nightmill\">");
        html.append("<meta http-equiv=\"refresh\" content=\"%d\"/>".formatted(refreshSeconds));
        long percent = now.allRows() == 0 ? 100 : 100 * now.rows() / now.allRows();
        html.append(
                "<div class=\"progress\" style=\"height:22px;margin:8px 0\"><div class=\"progress-bar\" style=\"width:%d%%\">%d of %d rows</div></div>"
                        .formatted(percent, now.rows(), now.allRows()));
        html.append("<ul class=\"list-unstyled\">");
        item(html, "Running for", Console.duration(now.seconds()));
        item(html, "Time left", now.secondsLeft() < 0 ? "not known yet" : Console.duration(now.secondsLeft()));
        item(html, "Prompt tokens", "%d (%.0f/s)".formatted(now.promptTokens(), now.promptTokens() / now.seconds()));
        item(
                html,
                "From shared beginnings",
                "%d (%d %%)".formatted(now.cachedTokens(), 100 * now.cachedTokens() / Math.max(1, now.promptTokens())));
        item(
                html,
                "Completion tokens",
                "%d (%.0f/s)".formatted(now.completionTokens(), now.completionTokens() / now.seconds()));
        now.errors().forEach((code, count) -> item(html, "Failed as " + code, count.toString()));
        html.append("</ul><table class=\"table table-bordered table-sm table-striped\"><thead><tr>");
        for (String head : List.of(
                "Executor",
                "Kernels",
                "Running",
                "Waiting",
                "Rows done",
                "Prompt tokens",
                "Shared",
                "Completion tokens",
                "Steps",
                "KV pages used",
                "State slots used",
                "Preemptions",
                "Failed")) {
            html.append("<th>").append(head).append("</th>");
        }
        html.append("</tr></thead><tbody>");
        for (Progress executor : now.executors()) {
            html.append("<tr>");
            for (Object cell : List.of(
                    executor.executor(),
                    executor.backend(),
                    executor.running(),
                    executor.waiting(),
                    executor.finished(),
                    executor.promptTokens() + executor.cachedTokens(),
                    executor.cachedTokens(),
                    executor.completionTokens(),
                    executor.steps(),
                    executor.pages() - executor.freePages() + " of " + executor.pages(),
                    executor.slots() - executor.freeSlots() + " of " + executor.slots(),
                    executor.preemptions(),
                    executor.errors().isEmpty() ? "" : executor.errors().toString())) {
                html.append("<td>").append(escaped(cell.toString())).append("</td>");
            }
            html.append("</tr>");
        }
        return html.append("</tbody></table></div>").toString();
    }

    private static void item(StringBuilder html, String name, String value) {
        html.append(String.format(Locale.ROOT, "<li><strong>%s:</strong> %s</li>", escaped(name), escaped(value)));
    }

    private static String escaped(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
    }
}
