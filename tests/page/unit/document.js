// Reads docs/protocol.md.

import { readFileSync } from "node:fs";

/** The text. */
export const DOCUMENT = readFileSync(new URL("../../../docs/protocol.md", import.meta.url), "utf8");

/** The example messages of `client` or `server`, one JSON text each. */
export function examples(side) {
    const lines = [];
    let inside = false;
    for (const line of DOCUMENT.split("\n")) {
        if (line.startsWith("```")) inside = line === `\`\`\`json ${side}`;
        else if (inside) lines.push(line);
    }
    if (lines.length === 0) throw new Error(`docs/protocol.md shows no message of the ${side}`);
    return lines;
}
