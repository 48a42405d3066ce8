package io.nightmill;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.core.LogEvent;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.appender.AbstractAppender;
import org.apache.logging.log4j.core.config.Property;

/** What this process logs. */
public final class Logs {
    /** What may fail in any way. */
    public interface Work {
        void run() throws Exception;
    }

    private Logs() {}

    /** Messages that were logged meanwhile. */
    public static List<String> during(Work work) throws Exception {
        List<String> lines = new CopyOnWriteArrayList<>();
        AbstractAppender appender = new AbstractAppender("lines", null, null, true, Property.EMPTY_ARRAY) {
            @Override
            public void append(LogEvent event) {
                lines.add(event.getMessage().getFormattedMessage());
            }
        };
        appender.start();
        LoggerContext context = (LoggerContext) LogManager.getContext(false);
        context.getConfiguration().getRootLogger().addAppender(appender, null, null);
        context.updateLoggers();
        try {
            work.run();
        } finally {
            context.getConfiguration().getRootLogger().removeAppender("lines");
        }
        return lines;
    }
}
