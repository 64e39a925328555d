import com.marcnuri.helm.Helm;
import com.marcnuri.helm.LintResult;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Lints a chart, and renders it with each of some files of values: java HelmRuns.java CHART FOLDER VALUES... */
public class HelmRuns {
    public static void main(String[] arguments) throws IOException {
        Path chart = Path.of(arguments[0]);
        Path folder = Path.of(arguments[1]);
        LintResult lint = new Helm(chart).lint().strict().quiet().call();
        Files.writeString(folder.resolve("lint"), lint.isFailed() ? String.join("\n", lint.getMessages()) : "");
        for (int index = 2; index < arguments.length; index++) {
            Path values = Path.of(arguments[index]);
            String name = values.getFileName().toString().replace(".yaml", "");
            try {
                String rendered = new Helm(chart)
                    .template()
                    .withName("resync")
                    .withNamespace("marketplace")
                    .withValuesFile(values)
                    .call();
                Files.writeString(folder.resolve(name + ".yaml"), rendered);
            } catch (RuntimeException refused) {
                Files.writeString(folder.resolve(name + ".error"), refused.getMessage());
            }
        }
    }
}
