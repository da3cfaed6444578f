// The page in a real browser, on the real daemon, with the example conversation.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Address, SessionModel, Subscription } from "../../../daemon/page/client/index.js";
import {
    CONVERSATION, Daemon, Wire, accessibilityFaults, browse, inRepository, open, pointsOf, samplesOf, until,
    writeWav,
} from "./harness.js";

/** Pictures for the README are written here when it is set. */
const IMAGES = process.env.DIARIZED_IMAGES;
const VIEWS = ["now", "timeline", "turns", "speakers", "sessions", "listen", "health"];
/** What the network does while the daemon is away, a browser writes on the console by itself. */
const isOutage = (what) => /ERR_CONNECTION_\w+|ERR_SOCKET_NOT_CONNECTED|ERR_EMPTY_RESPONSE|WebSocket connection to/.test(what);

let daemon;
let browser;
let samples;
let folder;

before(async () => {
    daemon = await Daemon.start();
    browser = await browse();
    folder = mkdtempSync(join(tmpdir(), "diarized-page-"));
    const { page, context } = await open(browser, daemon.url);
    samples = await samplesOf(page, CONVERSATION);
    await context.close();
    assert.ok(samples.length > 70 * 16000);
});

after(async () => {
    await browser?.close();
    await daemon?.stop();
    rmSync(folder, { recursive: true, force: true });
});

const publish = (session, on = daemon) => on.publish(session, samples);
const snapshotOf = (session) => daemon.snapshot(session);

/** Whether the page shows a session at this second or later. */
const reached = (page, second) => page.evaluate((at) => {
    const time = /(\d+):(\d+)$/.exec(document.querySelector(".now-where")?.textContent ?? "");
    return time !== null && Number(time[1]) * 60 + Number(time[2]) >= at;
}, second);

/** The last segment that the server holds. */
async function lastOf(session) {
    const { segments } = await snapshotOf(session);
    return segments.reduce((a, b) => (a && a.end > b.end ? a : b), undefined);
}

/** Name or label of who speaks last in what the server holds. */
async function speakerNow(session) {
    const last = await lastOf(session);
    return last?.name ?? last?.speaker;
}

const cards = (page) => page.locator(".person").count();
const names = (page) => page.locator(".person-name").allTextContents();

async function picture(page, name) {
    if (!IMAGES) return;
    mkdirSync(IMAGES, { recursive: true });
    await page.screenshot({ path: join(IMAGES, `${name}.png`) });
}

test("the page shows who speaks now, as it is", async () => {
    const { page, trouble, context } = await open(browser, daemon.url);
    const streaming = daemon.stream("meeting", { speed: "2" });
    const shown = [];
    const given = { awb: "Ewan", slt: "Ada", rms: "Robert" };
    const follower = new Subscription(new Address(daemon.url), new SessionModel("meeting"));
    // Seconds in the middle of turns, and who really speaks there.
    const truth = [[5, "awb"], [11, "slt"], [18, "rms"], [26, "rms"], [31.5, "slt"]];
    for (const [second, speaker] of truth) {
        await until(() => reached(page, second - 0.7), `second ${second}`);
        // Labels may change between two questions; within a turn page and server agree on one.
        const name = await until(async () => {
            const said = [await speakerNow("meeting")];
            const told = await page.evaluate(() => document.querySelector(".now-name")?.textContent);
            said.push(await speakerNow("meeting"));
            return said.includes(told) ? told : undefined;
        }, `the speaker at second ${second}`, 3000);
        shown.push([speaker, name]);
        if (second === 26) await picture(page, "now");
        if (follower.state.kind === "stopped") follower.start();
        await until(() => follower.state.kind === "open", "a subscription beside the page");
        follower.send({ type: "rename", speaker: (await lastOf("meeting")).speaker, name: given[speaker] });
    }
    follower.stop();
    const labels = new Map(shown);
    // The page does not decide how well speakers are distinguished; it must show what the server sends.
    assert.notEqual(labels.get("awb"), labels.get("slt"), JSON.stringify(shown));
    const isWho = (name) => /^S\d+$/.test(name) || Object.values(given).includes(name);
    assert.ok(shown.every(([, name]) => isWho(name)), JSON.stringify(shown));
    assert.match(await page.title(), / · diarized$/, "the title says it, too");
    await until(() => page.locator("#announcer").textContent(), "an announcement for screen readers");
    await page.evaluate(() => { location.hash = "#/timeline"; });
    await until(async () => page.locator(".lanes").isVisible(), "the timeline");
    await page.waitForTimeout(2500);
    await picture(page, "timeline");
    await streaming;
    await until(async () => !(await snapshotOf("meeting")).live, "the end");
    const said = await snapshotOf("meeting");
    assert.ok(said.speakers.length >= 3, "there is a conversation to look at");
    await until(async () => (await page.locator(".lanes").getAttribute("aria-label")).includes(`${said.speakers.length} speakers`), "lanes");
    await page.evaluate(() => { location.hash = "#/now"; });
    await until(async () => (await page.locator(".now-quiet").textContent()) === "The session has ended", "the end on the page");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("the timeline has a lane in each speaker's colour", async () => {
    const { page, trouble, context } = await open(browser, daemon.url, { hash: "#/timeline?session=meeting" });
    const { speakers } = await snapshotOf("meeting");
    await page.getByRole("button", { name: "Show everything" }).click();
    for (const { id } of speakers) {
        await until(async () => (await pointsOf(page, ".lanes", id)) > 300, `the colour of ${id}`);
    }
    await page.goto(`${daemon.url}#/speakers?session=meeting`);
    await until(async () => (await cards(page)) === speakers.length, "a card a speaker");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("corrections on one page are seen on another, and the client holds what the server holds", async () => {
    const feed = await publish("talk");
    feed.send(0, 50);
    await feed.heard(48);
    await feed.settle();
    const one = await open(browser, daemon.url, { hash: "#/speakers?session=talk" });
    const two = await open(browser, daemon.url, { hash: "#/speakers?session=talk" });
    const talk = (await snapshotOf("talk")).speakers.sort((a, b) => b.total_s - a.total_s);
    const n = talk.length;
    assert.ok(n >= 3);
    const [first, second, third] = talk.map((speaker) => speaker.id);
    for (const { page } of [one, two]) await until(async () => (await cards(page)) === n, "cards");

    await one.page.getByRole("button", { name: `Rename: ${first}` }).click();
    await one.page.getByRole("textbox", { name: `Name of ${first}` }).fill("Ada");
    await one.page.keyboard.press("Enter");
    for (const { page } of [one, two]) await until(async () => (await names(page)).includes("Ada"), "the name");
    await picture(one.page, "speakers");

    const evil = "<script>alert(1)</script><img src=x onerror=alert(2)>";
    await two.page.getByRole("button", { name: `Rename: ${second}` }).click();
    await two.page.getByRole("textbox", { name: `Name of ${second}` }).fill(evil);
    await two.page.getByRole("button", { name: "Save" }).click();
    for (const { page } of [one, two]) await until(async () => (await names(page)).includes(evil), "the name as text");
    assert.equal(await one.page.locator(".person script, .person img").count(), 0);

    // A segment goes to somebody else, from the table of the timeline.
    await one.page.goto(`${daemon.url}#/timeline?session=talk`);
    const before = await snapshotOf("talk");
    const given = before.segments.filter((s) => s.final && s.speaker === third)
        .reduce((a, b) => (a && a.start > b.start ? a : b), undefined);
    const rowOf = one.page.locator("tbody tr").filter({ has: one.page.locator("td:first-child", { hasText: new RegExp(`^${third}$`) }) });
    await rowOf.first().getByRole("button").click();
    await one.page.getByLabel("This was someone else", { exact: true }).selectOption(first);
    await one.page.getByRole("button", { name: "Give to" }).click();
    await until(async () => (await snapshotOf("talk")).segments.find((s) => s.id === given.id).speaker === first, "the gift");
    await until(async () => (await one.page.locator(".panel h2").textContent()) === "Ada", "the panel follows");
    await one.page.keyboard.press("Escape");

    // Two labels are one person: merged on one page, shown on both.
    await two.page.getByRole("button", { name: `Merge: ${third}` }).click();
    await picture(two.page, "merge");
    await two.page.getByRole("radio", { name: /Ada/ }).check();
    await two.page.getByRole("dialog").getByRole("button", { name: "Merge" }).click();
    await until(async () => (await cards(two.page)) === n - 1, "one card less");
    await one.page.goto(`${daemon.url}#/speakers?session=talk`);
    await until(async () => (await cards(one.page)) === n - 1, "one card less on the other page");
    const now = await snapshotOf("talk");
    assert.ok(now.segments.every((s) => s.speaker !== third));

    // An empty name takes it away.
    await one.page.getByRole("button", { name: `Rename: ${evil}` }).click();
    await one.page.getByRole("textbox", { name: `Name of ${second}` }).fill("");
    await one.page.keyboard.press("Enter");
    await until(async () => (await names(two.page)).includes(second), "the label again");

    await feed.finish();
    assert.deepEqual([one.trouble, two.trouble], [[], []]);
    await one.context.close();
    await two.context.close();
});

test("events and snapshots of the real server agree in the session model", async () => {
    const said = await daemon.stream("whole");
    const model = new SessionModel("whole");
    for (const message of said) model.apply(message);
    const told = await snapshotOf("whole");
    const held = model.toSnapshot();
    // Sums of milliseconds and of samples may differ by one for each segment.
    for (const [idx, speaker] of held.speakers.entries()) {
        const n = told.segments.filter((s) => s.speaker === speaker.id).length;
        assert.ok(Math.abs(speaker.total_s - told.speakers[idx].total_s) <= 0.0011 * n);
        delete speaker.total_s;
        delete told.speakers[idx].total_s;
    }
    assert.deepEqual(held, told);
    assert.ok(told.segments.length > 5);
});

test("the browser's microphone is a microphone of the daemon", async () => {
    const sound = join(folder, "conversation.wav");
    writeWav(sound, samples);
    const listener = await browse({ sound });
    const { page, trouble } = await open(listener, daemon.url, { hash: "#/listen", context: { permissions: ["microphone"] } });
    await page.getByLabel("Name of the session").fill("laptop");
    await page.getByRole("button", { name: "Start listening" }).click();
    await until(async () => /Listening: 0:0[2-9]/.test(await page.locator(".status").first().textContent()), "sound");
    const { sessions } = await daemon.json("v1/sessions");
    const listed = sessions.find((s) => s.session === "laptop");
    assert.deepEqual([listed.live, listed.title, listed.audio.sample_rate, listed.audio.encoding], [true, "laptop", 16000, "pcm_s16le"]);
    await page.goto(`${daemon.url}#/now?session=laptop`);
    assert.equal(await page.locator(".listening-chip").isVisible(), true);
    await until(async () => (await page.locator(".now-name").count()) > 0, "somebody on the page");
    await until(async () => (await snapshotOf("laptop")).speakers.length >= 2, "two voices from the microphone");
    await page.goto(`${daemon.url}#/speakers?session=laptop`);
    await until(async () => (await cards(page)) >= 2, "two cards");
    await page.goto(`${daemon.url}#/listen?session=laptop`);
    await page.getByRole("button", { name: "Stop listening" }).click();
    await until(async () => (await snapshotOf("laptop")).reason === "closed", "the end");
    const said = "This session has ended: it was stopped";
    await until(async () => (await page.locator(".state").textContent()) === said, "the page to say that it ended");
    assert.deepEqual(trouble, []);
    await listener.close();
});

test("a dropped file gets the labels that the command line gets", async () => {
    const { page, trouble, context } = await open(browser, daemon.url, { hash: "#/listen" });
    await page.getByLabel("Name of the session").fill("dropped");
    await page.locator("#listen-speed").selectOption({ label: "As fast as it goes" });
    const data = await page.evaluateHandle((base64) => {
        const transfer = new DataTransfer();
        const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
        transfer.items.add(new File([bytes], "conversation.flac", { type: "audio/flac" }));
        return transfer;
    }, readFileSync(CONVERSATION).toString("base64"));
    await page.locator(".drop").dispatchEvent("drop", { dataTransfer: data });
    await until(async () => /is done: \d speakers/.test(await page.locator(".drop .status").textContent()), "the end");
    const [dropped, streamed] = [await snapshotOf("dropped"), await snapshotOf("whole")];
    assert.deepEqual(dropped.segments, streamed.segments);
    assert.deepEqual([dropped.title, streamed.title], ["dropped", "conversation.flac"]);
    assert.deepEqual(trouble, []);
    await context.close();
});

test("exports are those of the server", async () => {
    const { page, trouble, context } = await open(browser, daemon.url, { hash: "#/sessions" });
    await until(async () => (await page.locator(".session-row").count()) >= 3, "sessions");
    await picture(page, "sessions");
    for (const format of ["rttm", "json", "srt", "vtt"]) {
        const download = page.waitForEvent("download");
        await page.getByRole("button", { name: `Export whole as ${format.toUpperCase()}` }).click();
        const file = await download;
        assert.equal(file.suggestedFilename(), `whole.${format}`);
        const saved = readFileSync(await file.path(), "utf8");
        const served = await (await fetch(`${daemon.url}v1/sessions/whole.${format}`)).text();
        assert.equal(saved, served);
        assert.ok(saved.length > 100);
    }
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a cut connection is made anew and nothing is missing", async () => {
    const wire = await Wire.lay(daemon.port);
    const { page, trouble, context } = await open(browser, wire.url, { hash: "#/health?session=cut", allow: isOutage });
    const feed = await publish("cut");
    feed.send(0, 10);
    await until(async () => (await page.locator(".log").textContent()).includes("Connected to cut"), "a connection");
    await feed.heard(9);
    wire.cut();
    await until(() => page.locator(".banner").isVisible(), "word that the connection is lost");
    await page.evaluate(() => { location.hash = "#/now?session=cut"; });
    await until(async () => (await page.locator(".now-quiet").textContent()) === "No connection", "no claim about who speaks");
    await page.evaluate(() => { location.hash = "#/health?session=cut"; });
    feed.send(10, 30);
    await feed.heard(28);
    wire.mend();
    await until(async () => /went on after event \d+, nothing is missing/.test(await page.locator(".log").textContent()), "a resume");
    await until(async () => !(await page.locator(".banner").isVisible()), "no banner");
    const told = await snapshotOf("cut");
    await page.goto(`${wire.url}#/speakers?session=cut`);
    await until(async () => (await cards(page)) === told.speakers.length, "speakers of meanwhile");
    await feed.finish();
    assert.deepEqual(trouble, []);
    await context.close();
    wire.close();
});

test("a restart of the daemon is survived", async () => {
    const own = await Daemon.start();
    const { page, trouble, context } = await open(browser, own.url, { hash: "#/now", allow: isOutage });
    await until(async () => (await page.locator(".empty h1").textContent()) === "No session yet", "an empty page");
    await picture(page, "empty");
    const feed = await publish("first", own);
    feed.send(0, 20);
    await until(async () => (await page.locator(".now-where").textContent()).startsWith("first"), "the session by itself");
    await feed.heard(18);
    await own.stop();
    await until(() => page.locator(".banner").isVisible(), "word that the server is away");
    assert.equal(await page.locator(".now-where").isVisible(), true, "what was heard stays");
    await until(async () => (await page.locator(".now-quiet").textContent()) === "The session has ended", "its end");
    const again = await Daemon.start({ port: own.port });
    await until(async () => !(await page.locator(".banner").isVisible()), "the server is back");
    const next = await publish("second", again);
    next.send(0, 6);
    await until(async () => (await page.locator(".now-where").textContent()).startsWith("second"), "the next session");
    await until(async () => (await page.locator(".state").textContent()) === "Connected", "a connection");
    await next.finish();
    await feed.finish();
    assert.deepEqual(trouble, []);
    await context.close();
    await again.stop();
});

test("whoever cannot see or use a mouse can use it, in both languages and colours", async () => {
    const feed = await publish("access");
    feed.send(0, 30);
    await feed.heard(28);
    for (const [locale, colorScheme, width] of [["en-GB", "light", 1280], ["ru-RU", "dark", 390]]) {
        const options = { locale, colorScheme, viewport: { width, height: 844 }, reducedMotion: "reduce" };
        const { page, trouble, context } = await open(browser, daemon.url, { context: options });
        for (const view of VIEWS) {
            await page.goto(`${daemon.url}#/${view}?session=access`);
            await until(async () => page.locator(`.view.${view}`).isVisible(), view);
            await page.waitForTimeout(300);
            assert.deepEqual(await accessibilityFaults(page), [], `${view}, ${locale}, ${colorScheme}`);
            const isWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
            assert.equal(isWide, false, `${view} is no wider than the window`);
            if (width < 500) await picture(page, `phone-${view}`);
        }
        assert.equal(await page.locator("html").getAttribute("lang"), locale.slice(0, 2));
        assert.deepEqual(trouble, []);
        await context.close();
    }
    const { page, trouble, context } = await open(browser, daemon.url, { hash: "#/timeline?session=access" });
    await until(() => page.locator("tbody tr").first().isVisible(), "segments");
    // By keys alone: to the canvas, to the last segment, into its panel.
    await page.locator(".lanes").focus();
    await page.keyboard.press("Home");
    const isLive = async () => (await page.locator(".button.live").getAttribute("data-on")) !== null;
    await until(async () => !await isLive(), "the beginning");
    await page.keyboard.press("+");
    await page.keyboard.press("End");
    await until(isLive, "the live end");
    await page.keyboard.press("Shift+ArrowLeft");
    await until(() => page.locator(".panel").isVisible(), "the panel");
    await until(async () => /S\d+, 0:\d/.test(await page.locator("#announcer").textContent()), "the segment, said");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.closest(".panel") !== null), true);
    await page.locator(".lanes").focus();
    await page.keyboard.press("Escape");
    await until(async () => !(await page.locator(".panel").isVisible()), "no panel");
    await page.keyboard.press("1");
    await until(() => page.locator(".view.now").isVisible(), "the first view by its number");
    await feed.finish();
    assert.deepEqual(trouble, []);
    await context.close();
});

test("the images that the README shows are there", () => {
    const readme = readFileSync(inRepository("README.md"), "utf8");
    for (const [, path] of readme.matchAll(/\]\((docs\/images\/[^)]+)\)/g)) {
        assert.ok(readFileSync(inRepository(path)).length > 1000, path);
    }
});
