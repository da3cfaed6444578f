// Compiles every example of docs/protocol.md against the package's types, and a use of the package as its README shows.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { examples } from "../unit/document.js";

const here = dirname(fileURLToPath(import.meta.url));
const client = fileURLToPath(new URL("../../../daemon/page/", import.meta.url));
const readme = readFileSync(join(client, "README.md"), "utf8");
const shown = [...readme.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1]);
if (shown.length === 0) throw new Error("the package's README shows no use");

const lines = [`import type { ClientMessage, ServerMessage } from ${JSON.stringify(join(client, "client/index.js"))};`];
// A literal is checked strictly: a field that the types do not have is an error.
examples("server").forEach((line, i) => lines.push(`export const server${i}: ServerMessage = ${line};`));
examples("client").forEach((line, i) => lines.push(`export const client${i}: ClientMessage = ${line};`));

const folder = mkdtempSync(join(here, "tmp-"));
try {
    writeFileSync(join(folder, "document.ts"), lines.join("\n"));
    shown.forEach((code, i) => writeFileSync(join(folder, `shown${i}.ts`), code));
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({
        compilerOptions: {
            strict: true, noEmit: true, target: "es2022", module: "nodenext", lib: ["es2022", "dom", "dom.iterable"],
            types: [], skipLibCheck: false, paths: { "diarized-client": [join(client, "client/index.d.ts")] },
        },
        files: ["document.ts", ...shown.map((_, i) => `shown${i}.ts`), join(client, "client/index.d.ts")],
    }));
    const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
    execFileSync(process.execPath, [tsc, "--project", folder], { stdio: ["ignore", "inherit", "inherit"] });
} finally {
    rmSync(folder, { recursive: true });
}
console.log(`${lines.length - 1} messages of the document and ${shown.length} examples of the README fit the types`);
