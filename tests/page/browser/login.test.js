// The example of a login by voice: registered and let in with the right phrase and voice, by a real recogniser and a fake
// microphone, and kept out with another phrase, another voice, a phrase used twice, or without a recogniser.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

import { CONVERSATION, Daemon, accessibilityFaults, browse, inRepository, open, samplesOf, until, writeWav } from "./harness.js";

const EXAMPLES = inRepository("daemon/clients/python/examples");
const PYTHON = process.env.PYTHON_CLIENT ?? inRepository("daemon/clients/python/.venv/bin/python");
const ANN = "that sounds like a plan there is one more question that i have to ask all of you";
const BOB = "not much the microphones arrive on thursday";
/** Where the conversation has them, in seconds. */
const SPOKEN = { register: [0.8, 7.9], ann: [53.6, 60.5], another: [69.6, 72.6], bob: [42.5, 45.8] };

const hasPython = (() => {
    try {
        execFileSync(PYTHON, ["-c", "import diarized_client, pocketsphinx, websockets"], { stdio: "ignore" });
        return true;
    } catch {
        return false;
    }
})();
if (!hasPython) console.log("not run: the login by voice, because the Python client and pocketsphinx are not installed");

const children = [];
let folder;
let sound;
let browser;
let samples;
let daemon;

/** A Python program of the examples; resolves with the address that it says it is ready at. */
async function example(name, ...args) {
    const child = spawn(PYTHON, [join(EXAMPLES, name), ...args], { stdio: ["ignore", "pipe", "inherit"] });
    children.push(child);
    const line = await new Promise((resolve) => { createInterface({ input: child.stdout }).once("line", resolve); });
    const url = /ready at (\S+)/.exec(line)?.[1];
    assert.ok(url, `${name} says: ${line}`);
    return url;
}

const voices = () => [
    "--voices", "--set", `voices.path=${join(folder, `${Math.random()}.db`)}`, "--set", `voices.key_file=${join(folder, "voices.key")}`,
];

/** What the microphone plays from its next opening on. */
function put(part) {
    const [start, end] = SPOKEN[part];
    const pcm = new Int16Array(16000 * 30);
    pcm.set(samples.subarray(start * 16000, end * 16000), 8000);
    writeWav(sound, pcm);
    return (end - start + 1.5) * 1000;
}

before(async () => {
    if (!hasPython) return;
    folder = mkdtempSync(join(tmpdir(), "login-"));
    sound = join(folder, "microphone.wav");
    writeFileSync(sound, "");
    writeFileSync(join(folder, "phrases.txt"), `${ANN}\n${BOB}\n`);
    browser = await browse({ sound });
    const asr = await example("pocketsphinx_server.py", "--port", "0");
    daemon = await Daemon.start({
        args: [...voices(), "--set", "asr.kind=vosk", "--set", `asr.url=${asr}`, "--set", "asr.timeout_s=60", "--set", "asr.end_wait_s=60"],
    });
    const helper = await open(browser, daemon.url);
    samples = await samplesOf(helper.page, CONVERSATION);
    await helper.context.close();
});

after(async () => {
    await browser?.close();
    await daemon?.stop();
    for (const child of children) child.kill();
    if (folder) rmSync(folder, { recursive: true, force: true });
});

const outcome = (page) => page.getByRole("status").textContent();

/** Presses a button, plays a part of the conversation into the microphone, presses again, and waits for the answer. */
async function speak(page, button, part) {
    const lasts = put(part);
    await page.getByRole("button", { name: button, exact: true }).click();
    await until(async () => (await outcome(page)).startsWith("Recording"), "the recording");
    await page.waitForTimeout(lasts);
    await page.getByRole("button", { name: "Done" }).click();
    await until(async () => !/^(Recording|One moment)/.test(await outcome(page)), "an answer");
    return outcome(page);
}

/** Asks until this phrase is drawn. */
async function drawn(page, phrase) {
    await until(async () => {
        const before = await page.locator("#phrase").textContent();
        if (before === phrase && await page.getByRole("button", { name: "Say it" }).isEnabled()) return true;
        await page.getByRole("button", { name: "Another phrase" }).click();
        await page.waitForTimeout(200);
        return false;
    }, `the phrase “${phrase}”`);
}

test("the right voice with the right phrase is let in, and nothing else is", { skip: !hasPython }, async () => {
    const url = await example("voice_login.py", "--port", "0", "--server", daemon.url.replace(/\/$/, ""), "--phrases", join(folder, "phrases.txt"));
    const { page, trouble, allowed, context } = await open(browser, url, { context: { permissions: ["microphone"] } });
    allowed.push(/favicon/, /40[34]/);
    assert.match(await page.locator(".warning").textContent(), /A voice is no lock/);
    assert.deepEqual(await accessibilityFaults(page), []);
    await page.getByLabel("Name").fill("Ann");
    assert.match(await speak(page, "Register my voice", "register"), /^Ann is registered with \d/);
    assert.match(await speak(page, "Register my voice", "bob"), /^No: Ann is registered already/);

    await drawn(page, ANN);
    assert.match(await speak(page, "Say it", "ann"), /^Welcome, Ann\./);
    const { sessions } = await daemon.json("v1/sessions");
    assert.deepEqual(sessions, [], "no session stays behind");

    await drawn(page, ANN);
    assert.match(await speak(page, "Say it", "another"), /^No: that was another phrase/);
    await drawn(page, BOB);
    assert.match(await speak(page, "Say it", "bob"), /^No: that is not clearly the voice of Ann/);

    // The same recording again, past the page: the phrase was used.
    const { challenge } = await (await fetch(`${url}challenge`, { method: "POST" })).json();
    const [start, end] = SPOKEN.ann;
    const body = new Uint8Array(samples.slice(start * 16000, end * 16000).buffer);
    const post = async (id) => (await fetch(`${url}login?name=Ann&challenge=${id}`, { method: "POST", body })).json();
    await post(challenge);
    assert.match((await post(challenge)).reason, /was used before/);
    assert.match((await post("made-up")).reason, /too old or was used before/);
    const foreign = await fetch(`${url}challenge`, { method: "POST", headers: { Origin: "http://evil.example" } });
    assert.equal(foreign.status, 403);
    assert.deepEqual(trouble, []);
    await context.close();
});

test("without a recogniser nobody is let in", { skip: !hasPython }, async () => {
    const deaf = await Daemon.start({ args: voices() });
    try {
        const url = await example("voice_login.py", "--port", "0", "--server", deaf.url.replace(/\/$/, ""));
        const pcm = (part) => new Uint8Array(samples.slice(SPOKEN[part][0] * 16000, SPOKEN[part][1] * 16000).buffer);
        const registered = await fetch(`${url}register?name=Ann`, { method: "POST", body: pcm("register") });
        assert.equal(registered.status, 200);
        const { challenge, phrase } = await (await fetch(`${url}challenge`, { method: "POST" })).json();
        assert.match(phrase, /^([a-z]+ ){5}[a-z]+$/);
        const answer = await fetch(`${url}login?name=Ann&challenge=${challenge}`, { method: "POST", body: pcm("ann") });
        assert.equal(answer.status, 403);
        assert.match((await answer.json()).reason, /is a recogniser configured/);
    } finally {
        await deaf.stop();
    }
});
