// The work after a meeting: correct, undo, find, note, title, save and delete, also after the server has come back.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { CONVERSATION, Daemon, accessibilityFaults, browse, open, samplesOf, until, writeWav } from "./harness.js";

let daemon;
let browser;
let folder;
let config;

before(async () => {
    folder = mkdtempSync(join(tmpdir(), "afterwards-"));
    config = join(folder, "diarized.toml");
    writeFileSync(config, `[storage]\npath = "${join(folder, "sessions.sqlite")}"\n`);
    daemon = await Daemon.start({ args: ["--config", config] });
    browser = await browse();
    await daemon.stream("meeting");
});

after(async () => {
    await browser?.close();
    await daemon?.stop();
    rmSync(folder, { recursive: true, force: true });
});

const isOutage = (what) => /WebSocket|ERR_CONNECTION|Failed to load resource/.test(what);
const nameOf = async (speaker) => (await daemon.snapshot("meeting")).speakers.find((s) => s.id === speaker)?.name;

test("an ended session is corrected, and the correction undone, on every page at once", async () => {
    const one = await open(browser, daemon.url, { hash: "#/speakers?session=meeting" });
    const other = await open(browser, daemon.url, { hash: "#/turns?session=meeting" });
    const card = one.page.locator(".people > li").first();
    await card.getByRole("button", { name: /^Rename/ }).click();
    await card.getByRole("textbox").fill("<b>Ada</b>");
    await one.page.keyboard.press("Enter");
    await until(async () => (await nameOf("S1")) === "<b>Ada</b>", "the name on the server");
    await until(async () => (await other.page.locator(".turn-name").allTextContents()).includes("<b>Ada</b>"), "the name on the other page");
    await other.page.getByRole("button", { name: "Undo: name" }).click();
    await until(async () => (await nameOf("S1")) === undefined, "the name is taken back");
    await until(async () => (await card.locator(".person-name").textContent()) === "S1", "on the first page too");
    await one.page.keyboard.press("Control+Shift+Z");
    await until(async () => (await nameOf("S1")) === "<b>Ada</b>", "the name once more, by key");
    assert.deepEqual(await accessibilityFaults(other.page), []);
    for (const { trouble, context } of [one, other]) {
        assert.deepEqual(trouble, []);
        await context.close();
    }
});

test("turns are found, given to another speaker in place, and saved", async () => {
    const { page, trouble, context } = await open(browser, daemon.url, { hash: "#/turns?session=meeting" });
    const told = await daemon.snapshot("meeting");
    const rows = page.locator(".turn");
    await until(async () => (await rows.count()) === told.segments.length, "every turn");
    await page.getByLabel("Search turns").fill("ada");
    const ofAda = told.segments.filter((s) => s.speaker === "S1").length;
    await until(async () => (await rows.count()) === ofAda, "Ada's turns");
    await page.getByLabel("Search turns").fill("");
    const another = told.speakers.find((s) => s.id !== "S1").id;
    await page.getByLabel("Speaker", { exact: true }).selectOption(another);
    await until(async () => (await rows.count()) === told.segments.filter((s) => s.speaker === another).length, "the other's turns");
    const first = told.segments.filter((s) => s.speaker === another).sort((a, b) => a.start - b.start)[0];
    await rows.first().getByRole("button", { name: /choose another speaker$/ }).click();
    await rows.first().getByRole("combobox").selectOption("S1");
    const speakerOf = async () => (await daemon.snapshot("meeting")).segments.find((s) => s.id === first.id).speaker;
    await until(async () => (await speakerOf()) === "S1", "the turn is Ada's");
    await page.getByRole("button", { name: /^Undo/ }).click();
    await until(async () => (await speakerOf()) === another, "and the other's again");
    for (const format of ["md", "csv"]) {
        const download = page.waitForEvent("download");
        await page.getByRole("button", { name: new RegExp(`as ${format.toUpperCase()}$`) }).click();
        const saved = readFileSync(await (await download).path(), "utf8");
        assert.equal(saved, await (await fetch(`${daemon.url}v1/sessions/meeting.${format}`)).text());
        assert.ok(saved.includes("Ada"));
    }
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a session gets a title, and is found and corrected after the server has come back", async () => {
    const { page, trouble, context } = await open(browser, daemon.url, { hash: "#/sessions", allow: isOutage });
    await page.getByRole("button", { name: "Title: conversation.flac" }).click();
    await page.getByRole("textbox", { name: /^Title of/ }).fill("Weekly <i>3</i>");
    await page.keyboard.press("Enter");
    await until(async () => (await page.locator(".session-name").allTextContents()).includes("Weekly <i>3</i>"), "the title");
    const { port } = daemon;
    // It is on the disk within half a second.
    await page.waitForTimeout(1500);
    await daemon.stop("SIGKILL");
    await until(() => page.locator(".banner").isVisible(), "word that the server is away");
    daemon = await Daemon.start({ port, args: ["--config", config] });
    await until(async () => !(await page.locator(".banner").isVisible()), "the server is back");
    await page.getByLabel("Search sessions").fill("weekly");
    await until(async () => (await page.locator(".session-row").count()) === 1, "the session by its title");
    await page.goto(`${daemon.url}#/turns?session=meeting`);
    await until(async () => (await nameOf("S1")) === "<b>Ada</b>", "the name is kept");
    await page.getByRole("button", { name: "Undo: title" }).click();
    await until(async () => (await daemon.snapshot("meeting")).title === "conversation.flac", "the title of before");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a deletion can be taken back for some seconds", async () => {
    await daemon.stream("doomed");
    const { page, trouble, context } = await open(browser, daemon.url, { hash: "#/sessions" });
    await page.getByLabel("Search sessions").fill("doomed");
    const row = page.locator(".session-row");
    await until(async () => (await row.count()) === 1, "the session");
    await row.getByRole("button", { name: /^Delete/ }).click();
    await until(async () => (await row.count()) === 0, "it is out of sight");
    await page.getByRole("button", { name: "Undo", exact: true }).click();
    await until(async () => (await row.count()) === 1, "it is back");
    await row.getByRole("button", { name: /^Delete/ }).click();
    await until(async () => (await fetch(`${daemon.url}v1/sessions/doomed`)).status === 404, "it is gone");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a page that records is loaded again, and the session goes on with a gap", async () => {
    const sound = join(folder, "conversation.wav");
    const helper = await open(browser, daemon.url);
    writeWav(sound, await samplesOf(helper.page, CONVERSATION));
    await helper.context.close();
    const listener = await browse({ sound });
    const allow = (what) => /^dialog/.test(what) || isOutage(what);
    const { page, trouble } = await open(listener, daemon.url, {
        hash: "#/listen", context: { permissions: ["microphone"] }, allow,
    });
    await page.getByLabel("Name of the session").fill("laptop");
    await page.getByRole("button", { name: "Start listening" }).click();
    const status = () => page.locator(".status").first().textContent();
    await until(async () => /Listening: 0:0[3-9]/.test(await status()), "sound");
    page.removeAllListeners("dialog");
    page.on("dialog", (dialog) => void dialog.accept());
    await page.reload();
    await until(async () => /^Listening/.test(await status()), "it listens again by itself");
    const before = (await daemon.snapshot("laptop")).at;
    await until(async () => (await daemon.snapshot("laptop")).at > before + 3, "sound in the same session");
    const now = await daemon.snapshot("laptop");
    assert.equal(now.live, true);
    assert.equal(now.gaps.length, 1);
    await page.getByRole("button", { name: "Stop listening" }).click();
    await until(async () => (await daemon.snapshot("laptop")).reason === "closed", "the end");
    await page.reload();
    await page.waitForTimeout(500);
    assert.equal(await page.getByRole("button", { name: "Start listening" }).isVisible(), true, "a recording that was ended stays ended");
    assert.deepEqual(trouble, []);
    await listener.close();
});
