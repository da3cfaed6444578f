// One meeting from its beginning to its deletion, as a person goes through it: recorded by the browser, over a reload, two
// restarts of the server and the loss of the microphone; then ended, corrected, undone, played, saved and deleted.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { CONVERSATION, Daemon, browse, open, pluggable, samplesOf, until, writeWav } from "./harness.js";

let daemon;
let listener;
let folder;
let config;

before(async () => {
    folder = mkdtempSync(join(tmpdir(), "walk-"));
    config = join(folder, "diarized.toml");
    writeFileSync(config, `[storage]\npath = "sessions.sqlite"\naudio = "opus"\n
[voices]\nenabled = true\npath = "voices.db"\nkey_file = "voices.key"\n`);
    daemon = await Daemon.start({ args: ["--config", config] });
    const helper = await browse();
    const { page } = await open(helper, daemon.url);
    const sound = join(folder, "conversation.wav");
    writeWav(sound, await samplesOf(page, CONVERSATION));
    await helper.close();
    listener = await browse({ sound });
});

after(async () => {
    await listener?.close();
    await daemon?.stop();
    rmSync(folder, { recursive: true, force: true });
});

const snapshot = () => daemon.snapshot("walk");

async function restart(signal) {
    const { port } = daemon;
    await daemon.stop(signal);
    daemon = await Daemon.start({ port, args: ["--config", config] });
}

const status = (page) => page.locator(".status").first().textContent();
const listens = (page) => until(async () => /^Listening/.test(await status(page)), "the page listens");

/** Waits until the session is longer by this number of seconds. */
async function goesOn(seconds) {
    const { at } = await snapshot();
    await until(async () => (await snapshot()).at > at + seconds, `${seconds} s more`);
}

async function record(page) {
    await page.goto(`${daemon.url}#/listen`);
    await page.getByLabel("Name of the session").fill("walk");
    await page.getByRole("button", { name: "Start listening" }).click();
    await until(async () => (await snapshot()).speakers?.length >= 2, "two people");
}

async function reload(page) {
    page.removeAllListeners("dialog");
    page.on("dialog", (dialog) => void dialog.accept());
    await page.reload();
    await listens(page);
    await goesOn(3);
    assert.equal((await snapshot()).gaps.length, 1, "the reload leaves a gap");
}

/** Restarts the server: the same session goes on, with the same people. */
async function restartServer(page, signal) {
    const before = await snapshot();
    await page.waitForTimeout(1500);
    await restart(signal);
    await listens(page);
    await goesOn(4);
    const now = await snapshot();
    assert.equal(now.live, true, signal);
    assert.deepEqual(now.speakers.slice(0, 2).map((s) => s.id), before.speakers.slice(0, 2).map((s) => s.id), signal);
    assert.equal(now.gaps.length, 1, `${signal}: the page sends what the server has not stored`);
}

async function loseMicrophone(page) {
    await page.evaluate(() => globalThis.pullOut());
    await until(async () => /microphone is gone/.test(await status(page)), "word of the loss");
    await page.getByRole("button", { name: "Go on with this one" }).click();
    await listens(page);
    await until(async () => (await snapshot()).gaps.length === 2, "the gap");
    await goesOn(2);
}

async function end(page) {
    await page.getByRole("button", { name: "Stop listening" }).click();
    await until(async () => (await snapshot()).reason === "closed", "the end");
    await until(() => !existsSync(join(folder, "sessions.sqlite-voices", "walk.sealed")), "the voices are erased");
}

/** Names a speaker in a turn, takes it back, and makes it again. */
async function correct(page) {
    await page.goto(`${daemon.url}#/turns?session=walk`);
    const nameOf = async () => (await snapshot()).speakers.find((s) => s.id === "S1").name;
    const { segments } = await snapshot();
    const inOrder = segments.sort((a, b) => a.start - b.start || a.id - b.id);
    const turn = page.locator(".turn").nth(inOrder.findIndex((s) => s.speaker === "S1"));
    await turn.getByRole("button", { name: /choose another speaker$/ }).click();
    await turn.getByRole("combobox").selectOption({ label: "Rename S1" });
    await turn.getByRole("textbox", { name: "Name of S1" }).fill("Ada");
    await page.keyboard.press("Enter");
    await until(async () => (await nameOf()) === "Ada", "the name");
    await page.getByRole("button", { name: "Undo: name" }).click();
    await until(async () => (await nameOf()) === undefined, "no name");
    await page.getByRole("button", { name: "Redo: name" }).waitFor();
    await page.keyboard.press("Control+Shift+Z");
    await until(async () => (await nameOf()) === "Ada", "the name once more");
}

async function playTurn(page) {
    const bar = page.getByRole("region", { name: "What is played" });
    await page.getByRole("button", { name: /^Play the turn/ }).first().click();
    await until(() => bar.isVisible(), "it plays");
    await bar.getByRole("button", { name: "Stop playing" }).click();
}

async function saveText(page) {
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: /as MD$/ }).click();
    const saved = readFileSync(await (await download).path(), "utf8");
    assert.ok(saved.includes("Ada"), saved);
}

async function deleteSession(page) {
    await page.goto(`${daemon.url}#/sessions`);
    await page.locator(".session-row").getByRole("button", { name: /^Delete/ }).click();
    await until(async () => (await fetch(`${daemon.url}v1/sessions/walk`)).status === 404, "it is gone");
    assert.equal(existsSync(join(folder, "sessions.sqlite-audio", "walk.opus")), false);
}

test("a meeting is recorded over every accident, and worked on afterwards", async () => {
    const { page, trouble, context } = await open(listener, daemon.url, {
        context: { permissions: ["microphone"] }, isBlank: true,
        allow: (what) => /^dialog|WebSocket|ERR_CONNECTION|Failed to load resource/.test(what),
    });
    await page.addInitScript(pluggable);
    await record(page);
    await reload(page);
    for (const signal of ["SIGTERM", "SIGKILL"]) await restartServer(page, signal);
    const { sessions } = await daemon.json("v1/sessions");
    assert.deepEqual(sessions.map((s) => s.session), ["walk"], "it is one session");
    await loseMicrophone(page);
    await end(page);
    await correct(page);
    await playTurn(page);
    await saveText(page);
    await deleteSession(page);
    assert.deepEqual(trouble, []);
    await context.close();
});
