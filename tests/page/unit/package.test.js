// The package: packed, installed elsewhere and used there; its types name what it exports and the words of the protocol.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

import * as client from "../../../daemon/page/client/index.js";
import { LANGUAGES } from "../../../daemon/page/app/texts/index.js";
import { DOCUMENT } from "./document.js";

const FOLDER = fileURLToPath(new URL("../../../daemon/page/", import.meta.url));
const TYPES = ["index", "messages"].map((name) => readFileSync(join(FOLDER, `client/${name}.d.ts`), "utf8")).join("");

test("the types name what is exported, and nothing else", () => {
    const named = [...TYPES.matchAll(/^export (?:class|function|const) (\w+)/gm)].map((match) => match[1]);
    assert.deepEqual([...new Set(named)].sort(), Object.keys(client).sort());
});

test("the types name the members that people use", () => {
    for (const [name, value] of Object.entries(client)) {
        const isError = value.prototype instanceof Error;
        if (typeof value !== "function" || !/^class/.test(String(value)) || isError) continue;
        const body = new RegExp(`export class ${name}\\b[^{]*\\{([^]*?)\\n\\}`).exec(TYPES)?.[1] ?? "";
        for (const member of Object.getOwnPropertyNames(value.prototype)) {
            // The request is for the package itself.
            if (member === "constructor" || (name === "Api" && member === "request")) continue;
            assert.match(body, new RegExp(`\\b${member}\\b`), `${name}.${member}`);
        }
    }
});

/** The words in backticks that the document gives for a field, from a sentence that begins with `start`. */
function words(start) {
    const from = DOCUMENT.indexOf(start);
    assert.ok(from >= 0, start);
    const paragraph = DOCUMENT.slice(from + start.length).split("\n\n")[0];
    return [...paragraph.matchAll(/`([a-z_]+)`(?= \(|, or|:|,)/g)].map((match) => match[1]).sort();
}

/** The words that the types allow. */
const union = (name) => [...new RegExp(`export type ${name} =([^;]*);`).exec(TYPES)[1].matchAll(/"(\w+)"/g)].map((m) => m[1]).sort();

for (const [type, start, text] of [
    ["EndReason", "`ended`: the last event. `reason`:", "reason"],
    ["GapReason", "`gap`: the stream holds no audio here. `reason`:", "gap"],
    ["RevisionReason", "now. `reason`:", undefined],
]) {
    test(`${type} has the words of the document${text ? ", and the page has them in every language" : ""}`, () => {
        const said = words(start);
        assert.ok(said.length >= 4, said.join());
        assert.deepEqual(union(type), said);
        for (const texts of text === undefined ? [] : Object.values(LANGUAGES)) {
            assert.deepEqual(said.filter((word) => !Object.hasOwn(texts, `${text}.${word}`)), []);
        }
    });
}

test("it can be packed, installed and used", () => {
    const place = mkdtempSync(join(tmpdir(), "diarized-package-"));
    try {
        const run = (cwd, ...args) => execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
        const [tarball] = run(FOLDER, "pack", "--pack-destination", place).trim().split("\n").slice(-1);
        writeFileSync(join(place, "package.json"), JSON.stringify({ private: true, type: "module" }));
        run(place, "install", "--offline", "--no-audit", "--no-fund", join(place, tarball));
        writeFileSync(join(place, "use.js"), `
            import { SessionModel, speakingAt, parse } from "diarized-client";
            const model = new SessionModel("kitchen");
            model.apply(parse(JSON.stringify({
                type: "snapshot", session: "kitchen", seq: 1, at: 2, live: true, source: "stream", gaps: [],
                speakers: [{ id: "S1", name: "Ada", first_s: 0 }],
                segments: [{ id: 1, start: 0, end: 2, speaker: "S1", confidence: 1, final: false }],
            })));
            console.log(speakingAt(model, 1).segments.map((segment) => model.nameOf(segment.speaker)).join());
        `);
        assert.equal(execFileSync(process.execPath, ["use.js"], { cwd: place, encoding: "utf8" }).trim(), "Ada");
    } finally {
        rmSync(place, { recursive: true, force: true });
    }
});
