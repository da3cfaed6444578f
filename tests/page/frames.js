// Measures how smooth the page is with ten thousand turns: `npm run frames`, or with `-- live` or `-- kept` one half of it.
// Prints tables, asserts nothing.
// A loop in the page asks for every frame, so that an interval is what a person sees between two pictures; 60 frames a second
// are 16.7 ms. Processor is the time that the page's process gets, of one core, layout and painting included: where it is
// little and frames are few, other programs had the machine. A key is answered when the frame that shows its result is painted.
// A view opens when its first turn or drawing is there, the page's files and the snapshot included.
// The live session is spoken by this script; the kept one comes from a store, through the daemon.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";

import { Daemon, browse, listed, open, openScripted, say } from "./browser/harness.js";

const N = 10_000;
const N_SPEAKERS = 8;
const N_WORDS = 20_000;
const SECONDS = 6;
/** Length of the kept session. */
const KEPT_S = 7200;
const SAID = "we should look at the budget again before the summer and ask the others what they think of it".split(" ");

const quantile = (numbers, q) => {
    const sorted = numbers.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
};

/** A session of ten thousand turns; `step` is the time from one to the next. */
function conversation(session, step, more) {
    const speaker = (i) => `S${1 + ((i * 7) % N_SPEAKERS)}`;
    const round = (seconds) => Math.round(seconds * 1000) / 1000;
    const segments = Array.from({ length: N }, (_, i) => ({
        id: i + 1, start: round(i * step), end: round((i + 0.85) * step), speaker: speaker(i), confidence: 0.9, final: true,
    }));
    const speakers = Array.from({ length: N_SPEAKERS }, (_, i) => (
        { id: `S${i + 1}`, first_s: round(i * step), total_s: round((N / N_SPEAKERS) * 0.85 * step) }
    ));
    const words = Array.from({ length: N_WORDS }, (_, i) => {
        const turn = Math.floor((i * N) / N_WORDS);
        const start = turn * step + (i % (N_WORDS / N)) * 0.2 * step;
        return {
            id: i + 1, start: round(start), end: round(start + 0.15 * step), text: SAID[(i * 5) % SAID.length], confidence: 0.9,
            final: true, speaker: speaker(turn), segment: turn + 1, speaker_confidence: 0.9,
        };
    });
    return { type: "snapshot", session, seq: 1, at: N * step, source: "stream", speakers, segments, gaps: [], words, ...more };
}

/** Node.js has no SQLite in all its versions. */
const PUT = `
import json, sqlite3, sys
path, labels = sys.argv[1], json.load(sys.stdin)
store = sqlite3.connect(path)
key, seq = store.execute("SELECT key, seq FROM sessions WHERE id = 'meeting'").fetchone()
labels["seq"] = seq
store.execute("DELETE FROM events WHERE session = ?", [key])
store.execute(
    "UPDATE sessions SET base = ?, base_seq = seq, at = ?, n_segments = ?, n_speakers = ? WHERE key = ?",
    [json.dumps(labels), int(labels["at"] * 16000), len(labels["segments"]), len(labels["speakers"]), key])
store.commit()
`;

/** Puts the kept session into a store, in the place of the labels of one that the daemon has made, and a newer one beside it. */
async function store(path) {
    const maker = await Daemon.start({ args: ["--set", `storage.path=${path}`] });
    await maker.stream("meeting");
    await maker.stream("newest");
    await maker.stop();
    const labels = conversation("meeting", KEPT_S / N, { live: false, reason: "closed" });
    execFileSync("python3", ["-c", PUT, path], { input: JSON.stringify(labels) });
}

/** Goes on talking as a live session does: a segment that grows four times a second, and numbers every two. */
function talk(socket) {
    let seq = 1;
    let at = N * 2;
    let id = N;
    let start = at;
    const timer = setInterval(() => {
        at += 0.25;
        if (id === N || at - start > 3) {
            id += 1;
            start = at - 0.25;
        }
        seq += 1;
        say(socket, {
            type: "segment", session: "s", seq, at, id, start, end: at, speaker: `S${1 + (id % N_SPEAKERS)}`, confidence: 0.9,
            final: at - start > 2.5,
        });
        if (seq % 8 === 0) {
            say(socket, {
                type: "stats", session: "s", lag_s: 0.1, rtf: 0.02, dropped_s: 0, heard_s: at, level_dbfs: -20, speech: true,
            });
        }
    }, 250);
    return () => clearInterval(timer);
}

/** Runs in the page before its scripts: notes every frame, and how long each key takes to be answered. */
function watch() {
    globalThis.frames = [];
    globalThis.keys = [];
    const frame = (now) => {
        globalThis.frames.push(now);
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    addEventListener("input", (event) => {
        // The page draws in a frame that it asks for before this one; the task after the frame comes when it is painted.
        setTimeout(() => requestAnimationFrame(() => {
            const { port1, port2 } = new MessageChannel();
            port1.onmessage = () => globalThis.keys.push(performance.now() - event.timeStamp);
            port2.postMessage(undefined);
        }));
    });
}

async function scroll(page) {
    await page.locator(".turns-list").hover();
    for (let i = 0; i < SECONDS * 25; i += 1) {
        await page.mouse.wheel(0, i % 100 < 75 ? 240 : -240);
        await page.waitForTimeout(35);
    }
}

async function search(page) {
    const field = page.getByLabel("Search turns");
    for (let i = 0; i < SECONDS; i += 1) {
        await field.pressSequentially(i % 2 === 0 ? "budget" : "S3", { delay: 120 });
        await page.waitForTimeout(300);
        await field.fill("");
        await page.waitForTimeout(300);
    }
}

const CASES = [
    ["the last minute, live", "timeline", undefined],
    ["everything in sight, live", "timeline", (page) => page.evaluate(() => {
        document.querySelector('[aria-label="Show everything"]').click();
    })],
    ["five hours back, dragged", "timeline", async (page) => {
        await page.locator(".lanes").focus();
        await page.keyboard.press("Home");
    }, async (page) => {
        const box = await page.locator(".lanes").boundingBox();
        await page.mouse.move(box.x + box.width / 2, box.y + 60);
        await page.mouse.down();
        for (let i = 0; i < SECONDS * 30; i += 1) {
            await page.mouse.move(box.x + box.width / 2 + 300 * Math.sin(i / 10), box.y + 60);
            await page.waitForTimeout(25);
        }
        await page.mouse.up();
    }],
    ["who speaks now", "now", undefined],
    ["the list of turns, scrolled", "turns", undefined, scroll],
    ["the list of turns, searched", "turns", undefined, search],
];

const secondsSince = (began) => `${((performance.now() - began) / 1000).toFixed(2)} s`;

/** Acts, and gives the cells of a row: frames a second, intervals, processor, and the answers to keys. */
async function measured(page, context, act) {
    const system = await context.browser().newBrowserCDPSession();
    const used = async () => {
        const { processInfo } = await system.send("SystemInfo.getProcessInfo");
        return processInfo.filter(({ type }) => type === "renderer").reduce((sum, { cpuTime }) => sum + cpuTime, 0);
    };
    await page.evaluate(() => {
        globalThis.frames.length = 0;
        globalThis.keys.length = 0;
    });
    const before = await used();
    if (act) await act(page);
    else await page.waitForTimeout(SECONDS * 1000);
    const after = await used();
    const { frames, keys } = await page.evaluate(() => ({ frames: globalThis.frames, keys: globalThis.keys }));
    const intervals = frames.slice(1).map((at, i) => at - frames[i]);
    const seconds = (frames.at(-1) - frames[0]) / 1000;
    const ms = (number) => (number === undefined ? "–" : `${number.toFixed(0)} ms`);
    return [
        (intervals.length / seconds).toFixed(0), ms(quantile(intervals, 0.95)), ms(quantile(intervals, 1)),
        `${((100 * (after - before)) / seconds).toFixed(0)} %`, ms(quantile(keys, 0.95)), ms(quantile(keys, 1)),
    ];
}

const HEAD = "opens | frames a second | interval: 95 % | longest | processor | key answered: 95 % | longest";
const row = (cells) => console.log(`| ${cells.join(" | ")} |`);
const table = (title) => {
    row([title, HEAD]);
    row(Array.from({ length: 1 + HEAD.split("|").length }, () => "---"));
};

async function live(browser) {
    const daemon = await Daemon.start();
    table("live session");
    for (const [name, view, prepare, act] of CASES) {
        let stop = () => {};
        const { page, context } = await openScripted(browser, daemon.url, "#/health", {
            listing: () => ({ json: { version: "1", model: "m", sessions: [listed("s")] } }),
            speak: (socket) => {
                say(socket, conversation("s", 2, { live: true }));
                stop = talk(socket);
            },
        });
        await page.addInitScript(watch);
        const began = performance.now();
        await page.goto(`${daemon.url}?again#/${view}?session=s`);
        await page.locator(`.view.${view}`).waitFor();
        if (view === "turns") await page.locator(".turn").first().waitFor();
        const opened = secondsSince(began);
        await page.waitForTimeout(1500);
        await prepare?.(page);
        await page.waitForTimeout(500);
        row([name, opened, ...await measured(page, context, act)]);
        stop();
        await context.close();
    }
    await daemon.stop();
}

async function kept(browser) {
    const folder = mkdtempSync(join(tmpdir(), "frames-"));
    const path = join(folder, "sessions.sqlite");
    await store(path);
    const daemon = await Daemon.start({ args: ["--set", `storage.path=${path}`] });
    table("kept session");
    for (const [name, act] of [["the list of turns, scrolled", scroll], ["the list of turns, searched", search]]) {
        const { page, context } = await open(browser, daemon.url, { isBlank: true });
        await page.addInitScript(watch);
        const began = performance.now();
        await page.goto(`${daemon.url}#/turns?session=meeting`);
        await page.locator(".turn").first().waitFor();
        const opened = secondsSince(began);
        await page.waitForTimeout(1500);
        row([name, opened, ...await measured(page, context, act)]);
        await context.close();
    }
    const { page, context } = await open(browser, daemon.url, { hash: "#/sessions" });
    const name = page.locator(".session-row", { hasText: "meeting" }).locator(".session-name");
    await name.waitFor();
    const clicked = performance.now();
    await name.click();
    await page.locator(".lanes").waitFor();
    const timeline = secondsSince(clicked);
    const asked = performance.now();
    await page.getByRole("link", { name: "Turns" }).click();
    await page.locator(".turn").first().waitFor();
    console.log(`\nFrom a click in the list of sessions to the timeline ${timeline}, from there to the turns ${secondsSince(asked)}.`);
    await context.close();
    await daemon.stop();
    rmSync(folder, { recursive: true });
}

const browser = await browse();
console.log(`${N} turns, ${N_WORDS} words, ${N_SPEAKERS} speakers, 1280 × 800; Chromium ${browser.version()} without GPU; `
    + `${cpus()[0].model}, ${cpus().length} threads\n`);
const wanted = process.argv[2];
if (wanted !== "kept") await live(browser);
console.log("");
if (wanted !== "live") await kept(browser);
await browser.close();
process.exit();
