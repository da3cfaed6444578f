// Takes the pictures of the README from the real page on the real daemon, with the example conversation: `npm run pictures`.
// They are written to docs/images, or to the folder that is given.

import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Daemon, browse, inRepository, open, until } from "./browser/harness.js";

const SESSION = "meeting";
const TITLE = "Weekly meeting";
/** Who speaks at which second of the conversation, by its reference. */
const PEOPLE = [[5, "Ewan"], [11, "Ada"], [18, "Robert"], [38, "Kai"]];
/** The second at which the first picture is taken, in the middle of a turn. */
const NOW_S = 26;
const MAX_BYTES = 150_000;

const images = process.argv[2] ?? inRepository("docs/images");
mkdirSync(images, { recursive: true });
const folder = mkdtempSync(join(tmpdir(), "pictures-"));
const config = join(folder, "diarized.toml");
writeFileSync(config, `[storage]\npath = "sessions.sqlite"\naudio = "opus"\n`);
const daemon = await Daemon.start({ args: ["--config", config] });
const browser = await browse();

const snapshot = () => daemon.snapshot(SESSION);

async function correct(kind, fields) {
    const answer = await fetch(`${daemon.url}v1/sessions/${SESSION}/${kind}`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(fields),
    });
    if (!answer.ok) throw new Error(`${kind}: ${await answer.text()}`);
}

/** Gives names to those who have spoken and have none. */
async function nameAll() {
    const { segments, speakers } = await snapshot();
    for (const [second, name] of PEOPLE) {
        const said = segments.find((s) => s.final && !s.overlap && s.start < second && second < s.end);
        const speaker = said && speakers.find((s) => s.id === said.speaker);
        if (speaker && !speaker.name && !speakers.some((s) => s.name === name)) {
            await correct("rename", { speaker: speaker.id, name });
        }
    }
}

async function take(page, name) {
    const path = join(images, `${name}.png`);
    await page.screenshot({ path });
    const { size } = statSync(path);
    if (size > MAX_BYTES) throw new Error(`${path} has ${size} bytes, at most ${MAX_BYTES} are wanted`);
    console.log(`${path}: ${size} bytes`);
}

try {
    const { page, trouble } = await open(browser, daemon.url);
    const streaming = daemon.stream(SESSION, { speed: "2" });
    await until(async () => (await daemon.json("v1/sessions")).sessions.length > 0, "the session");
    await correct("title", { title: TITLE });
    await until(async () => {
        await nameAll();
        return (await snapshot()).at >= NOW_S;
    }, `second ${NOW_S}`);
    await page.waitForTimeout(400);
    await take(page, "now");
    await page.goto(`${daemon.url}#/timeline?session=${SESSION}`);
    await until(async () => {
        await nameAll();
        return (await snapshot()).at >= 58;
    }, "second 58");
    await page.waitForTimeout(500);
    await take(page, "timeline");
    await streaming;
    await nameAll();
    await page.goto(`${daemon.url}#/turns?session=${SESSION}`);
    await until(async () => (await page.locator(".turn").count()) > 8, "the turns");
    await page.getByRole("button", { name: /^Play the turn/ }).nth(3).click();
    await until(() => page.getByRole("region", { name: "What is played" }).isVisible(), "it plays");
    await page.waitForTimeout(2000);
    await take(page, "turns");
    if (trouble.length > 0) throw new Error(trouble.join("\n"));
} finally {
    await browser.close();
    await daemon.stop();
    rmSync(folder, { recursive: true, force: true });
}
