// Measures how smooth the page is with ten thousand segments: `npm run frames`. Prints a table, asserts nothing.
// Work is what the page's own code takes for a frame by the clock, and so says nothing on a machine that is busy with
// other things; processor is what the main thread really uses a frame, layout and painting included. 60 frames a second
// leave 16.7 ms. A view opens when its first turn or drawing is there, the page's files and the snapshot included.

import { cpus } from "node:os";

import { Daemon, browse, listed, openScripted, say } from "./browser/harness.js";

const N = 10_000;
const N_SPEAKERS = 8;
const SECONDS = 6;

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

function conversation() {
    const segments = Array.from({ length: N }, (_, i) => ({
        id: i + 1, start: i * 2, end: i * 2 + 1.7, speaker: `S${1 + ((i * 7) % N_SPEAKERS)}`, confidence: 0.9, final: true,
    }));
    const speakers = Array.from({ length: N_SPEAKERS }, (_, i) => ({ id: `S${i + 1}`, first_s: i * 2, total_s: 1 }));
    return { type: "snapshot", session: "s", seq: 1, at: N * 2, live: true, source: "stream", speakers, segments, gaps: [] };
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

/** Runs in the page before its scripts: counts frames, and what the page's own callbacks take. */
function watch() {
    const own = globalThis.requestAnimationFrame.bind(globalThis);
    globalThis.frames = [];
    globalThis.requestAnimationFrame = (draw) => own((now) => {
        const began = performance.now();
        draw(now);
        globalThis.frames.push({ at: now, work: performance.now() - began });
    });
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
    ["the list of turns, scrolled", "turns", undefined, async (page) => {
        await page.locator(".turns-list").hover();
        for (let i = 0; i < SECONDS * 20; i += 1) {
            await page.mouse.wheel(0, i % 40 < 20 ? 160 : -160);
            await page.waitForTimeout(45);
        }
    }],
    ["the list of turns, searched", "turns", undefined, async (page) => {
        const search = page.getByLabel("Search turns");
        for (let i = 0; i < SECONDS; i += 1) {
            await search.pressSequentially("S3", { delay: 150 });
            await search.fill("");
            await page.waitForTimeout(500);
        }
    }],
];

const daemon = await Daemon.start();
const browser = await browse();
const version = browser.version();
console.log(`${N} segments, ${N_SPEAKERS} speakers, 1280 × 800; Chromium ${version} without GPU; ${cpus()[0].model}, ${cpus().length} threads\n`);
console.log("| view | opens | frames a second | processor a frame, mean | work a frame: median | 95 % | 99 % | longest |");
console.log("|---|---|---|---|---|---|---|---|");
for (const [name, view, prepare, act] of CASES) {
    let stop = () => {};
    const { page, context } = await openScripted(browser, daemon.url, "#/health", {
        listing: () => ({ json: { version: "1", model: "m", sessions: [listed("s")] } }),
        speak: (socket) => {
            say(socket, conversation());
            stop = talk(socket);
        },
    });
    await page.addInitScript(watch);
    const began = performance.now();
    await page.goto(`${daemon.url}?again#/${view}?session=s`);
    await page.locator(`.view.${view}`).waitFor();
    if (view === "turns") await page.locator(".turn").first().waitFor();
    const opened = ((performance.now() - began) / 1000).toFixed(2);
    await page.waitForTimeout(1500);
    await prepare?.(page);
    await page.waitForTimeout(500);
    const meter = await context.newCDPSession(page);
    await meter.send("Performance.setTimeDomain", { timeDomain: "threadTicks" });
    await meter.send("Performance.enable");
    const used = async () => {
        const { metrics } = await meter.send("Performance.getMetrics");
        return metrics.find((metric) => metric.name === "TaskDuration").value * 1000;
    };
    await page.evaluate(() => { globalThis.frames.length = 0; });
    const before = await used();
    if (act) await act(page);
    else await page.waitForTimeout(SECONDS * 1000);
    const after = await used();
    const frames = await page.evaluate(() => globalThis.frames);
    const work = frames.map((frame) => frame.work).sort((a, b) => a - b);
    const rate = ((frames.length - 1) * 1000) / (frames.at(-1).at - frames[0].at);
    const processor = `${((after - before) / frames.length).toFixed(1)} ms`;
    const shown = [0.5, 0.95, 0.99, 1].map((q) => `${quantile(work, q).toFixed(1)} ms`);
    console.log(`| ${name} | ${opened} s | ${rate.toFixed(0)} | ${processor} | ${shown.join(" | ")} |`);
    stop();
    await context.close();
}
await browser.close();
await daemon.stop();
process.exit();
