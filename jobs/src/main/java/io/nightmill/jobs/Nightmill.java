package io.nightmill.jobs;

import java.nio.file.Path;
import java.util.Arrays;
import org.apache.spark.sql.AnalysisException;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/** The command line. */
@Command(
        name = "nightmill",
        description = "Batch LLM inference as an ordinary Spark job.",
        mixinStandardHelpOptions = true,
        version = "nightmill 0.1.0",
        subcommands = {
            GenerateJob.class,
            ScoreJob.class,
            EvaluateJob.class,
            PlanJob.class,
            StatusJob.class,
            ModelsJob.class,
            DevicesJob.class,
            PerplexityJob.class,
            BenchJob.class
        })
public final class Nightmill implements Runnable {

    public static void main(String[] args) {
        exit(new Nightmill(), args);
    }

    @Override
    public void run() {
        new CommandLine(this).usage(System.out);
    }

    /** Runs a command; a failed one leaves one readable message and a status that is not 0. */
    static void exit(Object command, String[] args) {
        int status = execute(command, args);
        if (status != 0) {
            System.exit(status);
        }
    }

    static int execute(Object command, String... args) {
        CommandLine line = new CommandLine(command);
        line.setExecutionExceptionHandler((thrown, failed, parsed) -> fail(thrown));
        try {
            CommandLine leaf = leaf(line, args);
            Path config = config(args);
            if (config != null) {
                leaf.setDefaultValueProvider(new YamlDefaults(config, leaf.getCommandSpec()));
            }
        } catch (RuntimeException e) {
            return fail(e);
        }
        return line.execute(args);
    }

    private static CommandLine leaf(CommandLine line, String[] args) {
        return args.length > 0 && line.getSubcommands().containsKey(args[0])
                ? line.getSubcommands().get(args[0])
                : line;
    }

    private static @Nullable Path config(String[] args) {
        int at = Arrays.asList(args).indexOf("--config");
        return at >= 0 && at + 1 < args.length ? Path.of(args[at + 1]) : null;
    }

    /** What the user can mend is said in a line; the rest with its trace. */
    private static int fail(Throwable thrown) {
        for (Throwable cause = thrown; cause != null; cause = cause.getCause()) {
            if (cause instanceof IllegalArgumentException || cause instanceof AnalysisException) {
                System.err.println("nightmill: " + cause.getMessage());
                return 1;
            }
        }
        thrown.printStackTrace();
        return 1;
    }
}
