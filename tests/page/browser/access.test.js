// The page on a server that asks for tokens, on one that is called by a name it does not know, and who may do what.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { BINARY, Daemon, accessibilityFaults, browse, open, until } from "./harness.js";

let folder;
let file;
let daemon;
let browser;

const add = (name, scope) => execFileSync(BINARY, ["token", "add", name, "--scope", scope, "--file", file], {
    encoding: "utf8", stdio: ["ignore", "pipe", "ignore"],
}).trim();

function revoke(name) {
    execFileSync(BINARY, ["token", "revoke", name, "--file", file], { stdio: "ignore" });
    daemon.child.kill("SIGHUP");
}

let tokens;

before(async () => {
    folder = mkdtempSync(join(tmpdir(), "diarized-access-"));
    file = join(folder, "tokens");
    tokens = { all: add("all", "admin"), look: add("look", "subscribe"), send: add("send", "publish") };
    daemon = await Daemon.start({ args: ["--set", `server.token_file=${file}`] });
    browser = await browse({ args: ["--host-resolver-rules=MAP meetings.test 127.0.0.1"] });
});

after(async () => {
    await browser?.close();
    await daemon?.stop();
    rmSync(folder, { recursive: true, force: true });
});

/** Waits for the question, and answers it. */
async function enter(page, token) {
    const field = page.getByRole("textbox", { name: "Token" });
    await field.waitFor();
    await field.fill(token);
    await page.keyboard.press("Enter");
}

test("tokens decide who sees, who corrects and who deletes; a revoked one is asked for again", async () => {
    const feed = await daemon.publish("closed", new Int16Array(16000), tokens.all);
    feed.send(0, 1);
    const allow = (what) => /40[13]/.test(what);
    const { page, context, trouble } = await open(browser, daemon.url, { hash: "#/now", allow });
    await page.getByRole("textbox", { name: "Token" }).waitFor();
    assert.deepEqual(await accessibilityFaults(page), []);
    const fault = page.locator(".login .fault");
    assert.equal(await fault.isVisible(), false, "nothing is wrong yet");
    await enter(page, "dz_mistyped");
    await until(async () => /mistyped or expired/.test(await fault.textContent()), "word that it is wrong");
    await enter(page, "not even a word that a subprotocol may hold: ключ");
    await until(async () => /mistyped or expired/.test(await fault.textContent()), "the same of nonsense");
    await enter(page, tokens.send);
    await until(async () => /needs the scope subscribe/.test(await fault.textContent()), "what is missing");

    await enter(page, tokens.look);
    await until(async () => (await page.locator(".now-where").textContent()).startsWith("closed"), "the session");
    await page.goto(`${daemon.url}#/sessions`);
    const remove = async (word, before, after) => {
        await page.getByRole("button", { name: `${before}: closed` }).click();
        await page.getByRole("dialog").getByRole("button", { name: before }).click();
        await until(async () => (await page.locator(".toasts").textContent()).includes(word), after);
    };
    await remove("This token does not allow that.", "End", "word that looking is not deleting");
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "Export closed as JSON" }).click();
    await download;

    revoke("look");
    await page.getByRole("textbox", { name: "Token" }).waitFor();
    await until(async () => /mistyped or expired/.test(await fault.textContent()), "word that it is no longer good");
    await enter(page, tokens.all);
    await until(async () => (await page.locator(".state").textContent()) === "Connected", "the page again");
    await remove("closed is ended", "End", "the end");
    await feed.finish();
    assert.deepEqual(trouble, []);
    await context.close();
});

test("the browser's microphone shows its token", async () => {
    const listener = await browse({ sound: undefined, args: ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] });
    const { page, trouble } = await open(listener, daemon.url, {
        hash: "#/listen", context: { permissions: ["microphone"] }, allow: (what) => /401/.test(what),
    });
    await enter(page, tokens.all);
    await page.getByLabel("Name of the session").fill("shown");
    await page.getByRole("button", { name: "Start listening" }).click();
    await until(async () => /Listening: 0:0[1-9]/.test(await page.locator(".status").first().textContent()), "sound");
    await page.getByRole("button", { name: "Stop listening" }).click();
    await until(async () => (await page.locator(".state").textContent()).startsWith("This session has ended"), "the end");
    assert.deepEqual(trouble, []);
    await listener.close();
});

test("a name that the server does not know is told, and no token is asked for", async () => {
    const free = await Daemon.start();
    // Over plain HTTP by a name, a browser says of itself that it ignores one of the headers.
    const allow = (what) => /403|Cross-Origin-Opener-Policy header has been ignored/.test(what);
    const { page, context, trouble } = await open(browser, `http://meetings.test:${free.port}/`, { hash: "#/now", allow });
    await until(async () => (await page.locator(".empty h1").textContent()) === "The server refuses this page", "a refusal");
    assert.match(await page.locator(".empty p").textContent(), /is not a name of this server; use its address/);
    assert.equal(await page.getByRole("textbox", { name: "Token" }).count(), 0, "which no token would mend");
    assert.deepEqual(trouble, []);
    await context.close();
    await free.stop();
});
