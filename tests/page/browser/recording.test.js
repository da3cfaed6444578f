// Kept audio in the page: listened to by turn, by speaker and along the timeline, refused, and deleted while it plays. And
// the microphone: chosen, lost and found.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { CONVERSATION, Daemon, accessibilityFaults, browse, open, pluggable, samplesOf, until, writeWav } from "./harness.js";

let daemon;
let browser;
let folder;
let sound;

before(async () => {
    folder = mkdtempSync(join(tmpdir(), "recording-"));
    const config = join(folder, "diarized.toml");
    writeFileSync(config, `[storage]\npath = "${join(folder, "sessions.sqlite")}"\naudio = "opus"\n`);
    daemon = await Daemon.start({ args: ["--config", config] });
    browser = await browse();
    await daemon.stream("meeting");
    const helper = await open(browser, daemon.url);
    sound = join(folder, "conversation.wav");
    writeWav(sound, await samplesOf(helper.page, CONVERSATION));
    await helper.context.close();
});

after(async () => {
    await browser?.close();
    await daemon?.stop();
    rmSync(folder, { recursive: true, force: true });
});

const bar = (page) => page.getByRole("region", { name: "What is played" });
const secondsOf = (text) => text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
/** Second that is played now. */
const heard = async (page) => secondsOf((await bar(page).locator(".digits").textContent()).split(" / ")[0]);

test("a turn, a speaker's best moments and the whole meeting are listened to", async () => {
    const { page, trouble, context } = await open(browser, daemon.url, { hash: "#/turns?session=meeting" });
    const told = await daemon.snapshot("meeting");
    assert.equal(told.audio_kept, true);
    const inOrder = [...told.segments].sort((a, b) => a.start - b.start || a.id - b.id);
    const turn = inOrder.findIndex((s) => s.end - s.start > 3);
    await page.locator(".turn").nth(turn).getByRole("button", { name: /^Play the turn/ }).click();
    await until(async () => await bar(page).isVisible() && (await heard(page)) > inOrder[turn].start + 0.5, "the turn is heard");
    assert.ok((await heard(page)) <= inOrder[turn].end);
    await until(async () => (await page.locator(".turn").nth(turn).getAttribute("aria-current")) === "true", "the turn is marked");
    assert.match(await bar(page).locator(".playing-who").textContent(), new RegExp(inOrder[turn].speaker));
    await page.locator(".view-head h1").click();
    await page.keyboard.press("Space");
    await until(() => bar(page).getByRole("button", { name: "Play", exact: true }).isVisible(), "a pause by key");
    assert.deepEqual(await accessibilityFaults(page), []);
    await bar(page).getByRole("button", { name: "Stop playing" }).click();
    await until(async () => !(await bar(page).isVisible()), "the bar to go");

    await page.goto(`${daemon.url}#/speakers?session=meeting`);
    const speaker = told.speakers[1].id;
    await page.getByRole("button", { name: `Who is this?: ${speaker}` }).click();
    await until(async () => await bar(page).isVisible() && (await heard(page)) > 0.5, "a voice");
    const now = await heard(page);
    const isTheirs = told.segments.some((s) => s.speaker === speaker && s.start <= now + 0.2 && now <= s.end + 0.2);
    assert.ok(isTheirs, `${now} s is no moment of ${speaker}`);
    await bar(page).getByRole("button", { name: "Stop playing" }).click();

    await page.goto(`${daemon.url}#/timeline?session=meeting`);
    await page.locator(".lanes").focus();
    await page.keyboard.press("Space");
    await until(async () => await bar(page).isVisible() && (await heard(page)) > 1, "the meeting from its start");
    await page.locator(".view-head h1").click();
    const before = await heard(page);
    await page.keyboard.press("ArrowRight");
    await until(async () => (await heard(page)) >= before + 5, "five seconds on");
    await bar(page).getByLabel("Position").fill("20");
    await until(async () => (await heard(page)) > 20.3, "another place");
    await bar(page).getByLabel("Speed").selectOption("2");
    const [from, began] = [await heard(page), Date.now()];
    await page.waitForTimeout(2000);
    const speed = ((await heard(page)) - from) / ((Date.now() - began) / 1000);
    assert.ok(speed > 1.4 && speed < 2.6, `${speed} times`);
    assert.deepEqual(trouble, []);
    await context.close();
});

test("the audio is saved, and plays on a phone in Russian", async () => {
    const { page, trouble, context } = await open(browser, daemon.url, {
        hash: "#/turns?session=meeting", context: { viewport: { width: 360, height: 740 }, locale: "ru-RU" },
    });
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: /OPUS$/ }).click();
    const saved = readFileSync(await (await download).path());
    assert.deepEqual(saved, Buffer.from(await (await fetch(`${daemon.url}v1/sessions/meeting/audio`)).arrayBuffer()));
    await page.getByRole("button", { name: /^Слушать реплику/ }).first().click();
    await until(() => page.locator(".playing").isVisible(), "the bar");
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${width} pixels wide`);
    assert.deepEqual(await accessibilityFaults(page), []);
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a session that is deleted while it plays says so", async () => {
    await daemon.stream("doomed");
    const { page, trouble, allowed, context } = await open(browser, daemon.url, { hash: "#/speakers?session=doomed" });
    await page.getByRole("button", { name: /^Who is this/ }).first().click();
    await until(() => bar(page).isVisible(), "it plays");
    allowed.push(/404/, /WebSocket/);
    assert.equal((await fetch(`${daemon.url}v1/sessions/doomed`, { method: "DELETE" })).status, 204);
    assert.equal((await fetch(`${daemon.url}v1/sessions/doomed/audio`)).status, 404);
    await until(async () => {
        const said = await page.locator("body").textContent();
        return said.includes("no longer kept") || said.includes("no longer on the server");
    }, "word that it is gone");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a microphone is chosen, lost and found; the session waits and goes on", async () => {
    const listener = await browse({ sound });
    const { page, trouble } = await open(listener, daemon.url, {
        context: { permissions: ["microphone"] }, allow: (what) => /^dialog/.test(what), isBlank: true,
    });
    await page.addInitScript(pluggable);
    await page.goto(`${daemon.url}#/listen`);
    const devices = page.getByLabel("Microphone", { exact: true });
    await until(async () => (await devices.locator("option").count()) > 2, "the microphones");
    const wanted = await devices.locator("option").nth(2).getAttribute("value");
    await devices.selectOption(wanted);
    await page.getByLabel("Name of the session").fill("desk");
    await page.getByLabel("Number of people").fill("2");
    await page.getByLabel(/may keep the audio/).uncheck();
    await page.getByRole("button", { name: "Start listening" }).click();
    const status = () => page.locator(".status").first().textContent();
    await until(async () => /Listening: 0:0[2-9]/.test(await status()), "sound");
    assert.equal((await daemon.snapshot("desk")).audio_kept, undefined, "it was refused");
    await page.evaluate(() => globalThis.pullOut());
    await until(async () => /microphone is gone/.test(await status()), "word of the loss");
    await page.waitForTimeout(2000);
    assert.equal((await daemon.snapshot("desk")).live, true, "the session waits");
    await page.getByRole("button", { name: "Go on with this one" }).click();
    await until(async () => /^Listening/.test(await status()), "it goes on");
    await until(async () => (await daemon.snapshot("desk")).gaps.length === 1, "the gap");
    const { gaps, at } = await daemon.snapshot("desk");
    assert.ok(gaps[0].end - gaps[0].start > 1.9 && gaps[0].reason === "declared", JSON.stringify(gaps));
    await until(async () => (await daemon.snapshot("desk")).at > at + 2, "sound behind the gap");
    await page.getByRole("button", { name: "Stop listening" }).click();
    await until(async () => (await daemon.snapshot("desk")).reason === "closed", "the end");
    await page.reload();
    assert.equal(await page.getByLabel("Microphone", { exact: true }).inputValue(), wanted, "the choice is remembered");
    assert.equal(await page.getByLabel(/may keep the audio/).isChecked(), false);
    assert.deepEqual(trouble, []);
    await listener.close();
});

test("a file is dropped in any view, and a turn gets a note", async () => {
    // The view changes while the followers of the last one connect: the browser says so of what it closes.
    const allow = (what) => /WebSocket is closed before the connection is established/.test(what);
    const { page, trouble, context } = await open(browser, daemon.url, { hash: "#/health", allow });
    const base64 = readFileSync(sound).subarray(0, 44 + 16000 * 2 * 12).toString("base64");
    const dropped = await page.evaluateHandle((text) => {
        const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], "interview.wav", { type: "audio/wav" }));
        return transfer;
    }, base64);
    await page.dispatchEvent("main", "drop", { dataTransfer: dropped });
    await until(async () => (await daemon.json("v1/sessions")).sessions.some((s) => s.title === "interview.wav" && s.live), "the session");
    await page.goto(`${daemon.url}#/turns?session=meeting`);
    await page.getByRole("button", { name: /^Add a note/ }).first().click();
    await page.getByRole("textbox", { name: /^Note on/ }).fill("<b>who</b> is this?");
    await page.keyboard.press("Enter");
    await until(async () => (await daemon.snapshot("meeting")).notes?.[0]?.text === "<b>who</b> is this?", "the note");
    await until(async () => (await page.locator(".turn .hint").first().textContent()) === "<b>who</b> is this?", "it is shown");
    await page.getByRole("button", { name: /^Change the note/ }).first().click();
    await page.getByRole("textbox", { name: /^Note on/ }).fill("");
    await page.keyboard.press("Enter");
    await until(async () => (await daemon.snapshot("meeting")).notes === undefined, "the note is gone");
    assert.deepEqual(trouble, []);
    await context.close();
});
