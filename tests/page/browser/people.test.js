// People on the page: one label that is two of them, and voices that the server remembers and forgets.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { CONVERSATION, Daemon, accessibilityFaults, browse, open, samplesOf, until } from "./harness.js";

/** Folder for screenshots, if set. */
const IMAGES = process.env.DIARIZED_IMAGES;

let daemon;
let browser;
let samples;
let folder;

before(async () => {
    folder = mkdtempSync(join(tmpdir(), "diarized-people-"));
    daemon = await Daemon.start({
        args: ["--voices", "--set", `voices.path=${join(folder, "voices.db")}`,
            "--set", `voices.key_file=${join(folder, "voices.key")}`],
    });
    browser = await browse();
    const { page, context } = await open(browser, daemon.url);
    samples = await samplesOf(page, CONVERSATION);
    await context.close();
});

after(async () => {
    await browser?.close();
    await daemon?.stop();
    rmSync(folder, { recursive: true, force: true });
});

const names = (page) => page.locator(".person-name").allTextContents();
const known = (page) => page.locator(".voice-name").allTextContents();
const toast = (page, sentence) => until(async () => (await page.locator(".toasts").textContent()).includes(sentence), sentence);

async function picture(page, name) {
    if (!IMAGES) return;
    mkdirSync(IMAGES, { recursive: true });
    await page.screenshot({ path: join(IMAGES, `${name}.png`) });
}

/** The speakers of a session, who talked most first. */
async function talkers(session) {
    const { speakers } = await daemon.snapshot(session);
    return speakers.sort((a, b) => b.total_s - a.total_s).map((speaker) => speaker.id);
}

const of = (snapshot, speaker) => snapshot.segments.filter((s) => s.speaker === speaker).map((s) => s.id);

/** Publishes the conversation as `session` and opens its speakers on two pages. */
async function onTwoPages(session) {
    const feed = await daemon.publish(session, samples);
    feed.send(0, 50);
    await feed.heard(48);
    await feed.settle();
    const hash = `#/speakers?session=${session}`;
    const [one, two] = [await open(browser, daemon.url, { hash }), await open(browser, daemon.url, { hash })];
    return { feed, one, two, pages: [one.page, two.page] };
}

async function close(...windows) {
    for (const { trouble, context } of windows) {
        assert.deepEqual(trouble, []);
        await context.close();
    }
}

/** Nothing is stored without consent. */
async function enrolWithConsent(page, who) {
    const dialog = page.getByRole("dialog");
    await page.getByRole("button", { name: `Remember voice: ${who}` }).click();
    await dialog.getByLabel("Name", { exact: true }).fill("Ada");
    await dialog.getByRole("button", { name: "Remember" }).click();
    assert.equal(await dialog.isVisible(), true, "consent is asked for");
    assert.deepEqual((await daemon.json("v1/speakers")).speakers, []);
    assert.deepEqual(await accessibilityFaults(page), []);
    await picture(page, "enrol");
    await dialog.getByLabel("This person has agreed").check();
    await dialog.getByLabel(/Note on consent/).fill("said so at the start <b>of it</b>");
    await dialog.getByRole("button", { name: "Remember" }).click();
    await toast(page, "Ada will be recognised from now on");
}

/** Too little speech is refused with a message, and the dialog stays for another try. */
async function enrolTooLittle({ page, allowed }) {
    const short = (await talkers("first")).at(-1);
    await page.getByRole("button", { name: `Remember voice: ${short}` }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name", { exact: true }).fill("Ada");
    await dialog.getByLabel("This person has agreed").check();
    allowed.push(/422/);
    await dialog.getByRole("button", { name: "Remember" }).click();
    await until(() => dialog.locator(".fault").isVisible(), "the reason");
    await dialog.getByRole("button", { name: "Cancel" }).click();
    assert.equal((await daemon.json("v1/speakers")).speakers[0].recordings, 1, "nothing was added");
}

async function forget(page) {
    await page.getByRole("button", { name: "Forget: Ada" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Keep" }).click();
    assert.equal((await daemon.json("v1/speakers")).speakers.length, 1, "a question comes first");
    await page.getByRole("button", { name: "Forget: Ada" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Forget" }).click();
    await toast(page, "The voice of Ada is deleted");
}

test("a voice is enrolled with consent, recognised, shown on every page, and forgotten", async () => {
    const { feed, one, two, pages } = await onTwoPages("first");
    const [who] = await talkers("first");
    for (const page of pages) {
        await until(async () => (await page.locator(".voices-card").textContent()).includes("Nobody yet."), "an empty list");
    }
    await enrolWithConsent(one.page, who);
    for (const page of pages) {
        await until(async () => (await names(page)).includes("Ada"), "the name in the session");
        await until(async () => (await known(page)).includes("Ada"), "the name among the known");
        assert.match(await page.locator(".voices").textContent(), /consent: said so at the start <b>of it<\/b>/);
        assert.equal(await page.getByRole("button", { name: "Remember voice: Ada" }).isVisible(), false, "known already");
        assert.match(await page.locator(".person", { hasText: "Ada" }).textContent(), /known voice, 100%/);
    }
    await picture(one.page, "voices");
    const { speakers: [voice] } = await daemon.json("v1/speakers");
    assert.deepEqual([voice.name, voice.consent], ["Ada", "said so at the start <b>of it</b>"]);
    await enrolTooLittle(two);

    // Another session knows the voice by itself.
    const next = await daemon.publish("second", samples);
    next.send(0, 50);
    await next.heard(48);
    await until(async () => (await daemon.snapshot("second")).speakers.some((s) => s.name === "Ada"), "recognition");
    await two.page.goto(`${daemon.url}#/speakers?session=second`);
    await until(async () => (await names(two.page)).includes("Ada"), "the name in another session");

    // Forgotten on one page: gone from the other, and from the session that had recognised it.
    await forget(one.page);
    for (const page of pages) await until(async () => (await known(page)).length === 0, "nobody is known");
    await until(async () => !(await names(two.page)).includes("Ada"), "the recognised name is taken back");
    assert.ok((await names(one.page)).includes("Ada"), "what a person said stays");
    await until(() => one.page.getByRole("button", { name: "Remember voice: Ada" }).isVisible(), "an offer to enrol again");
    await feed.finish();
    await next.finish();
    await close(one, two);
});

const cards = (page) => page.locator(".person").count();

async function cardsAre(pages, n, what) {
    for (const page of pages) await until(async () => (await cards(page)) === n, what);
}

/** Two people under one label, as a mistaken merge leaves them. */
async function mergeInto(page, from, into) {
    await page.getByRole("button", { name: `Merge: ${from}` }).click();
    const dialog = page.getByRole("dialog");
    assert.equal(await dialog.getByRole("button", { name: "Merge" }).isDisabled(), true, "nobody is chosen");
    await page.getByRole("radio", { name: new RegExp(into) }).check();
    await dialog.getByRole("button", { name: "Merge" }).click();
}

/** The server finds the second person under a label. */
async function splitByServer(page, speaker) {
    await page.getByRole("button", { name: `Split: ${speaker}` }).click();
    assert.deepEqual(await accessibilityFaults(page), []);
    await page.getByRole("dialog").getByRole("button", { name: "Split" }).click();
}

/** The person picks one of `n` segments, whose id is returned; all of them cannot go, and none cannot either. */
async function splitBySegment(page, speaker, n) {
    await page.getByRole("button", { name: `Split: ${speaker}` }).click();
    const picks = page.getByRole("dialog");
    await picks.getByRole("radio", { name: /Choose the segments/ }).check();
    const act = picks.getByRole("button", { name: "Split" });
    assert.equal(await act.isDisabled(), true, "nothing is chosen");
    const boxes = picks.getByRole("checkbox");
    assert.equal(await boxes.count(), n);
    for (let i = 0; i < n; i += 1) await boxes.nth(i).check();
    assert.equal(await act.isDisabled(), true, "nobody would stay");
    for (let i = 1; i < n; i += 1) await boxes.nth(i).uncheck();
    await picture(page, "split");
    const id = Number(await boxes.first().getAttribute("value"));
    await act.click();
    return id;
}

/** From the timeline: a segment of `speaker` is somebody new. */
async function giveToSomebodyNew(page, speaker) {
    await page.goto(`${daemon.url}#/timeline?session=pair`);
    const row = page.locator("tbody tr").filter({ has: page.locator("td:first-child", { hasText: new RegExp(`^${speaker}$`) }) });
    await row.first().getByRole("button").click();
    await page.getByLabel("This was someone else", { exact: true }).selectOption("Somebody new");
    await page.getByRole("button", { name: "Give to" }).click();
}

test("a speaker who is two people is split, by the server or by segments, and seen on another page", async () => {
    const { feed, one, two, pages } = await onTwoPages("pair");
    const [first, second] = await talkers("pair");
    const before = await daemon.snapshot("pair");
    const n = before.speakers.length;
    await cardsAre(pages, n, "cards");
    await mergeInto(one.page, second, first);
    await cardsAre(pages, n - 1, "one card less");

    await splitByServer(one.page, first);
    await cardsAre(pages, n, "a card more, on both pages");
    const found = await daemon.snapshot("pair");
    const fresh = found.speakers.map((s) => s.id).find((id) => !before.speakers.some((s) => s.id === id));
    const wasSecond = new Set(of(before, second));
    const nRight = of(found, fresh).filter((id) => wasSecond.has(id)).length;
    assert.ok(nRight * 2 > of(found, fresh).length, "most of what went was the second person's");

    const biggest = of(found, first).length > 1 ? first : fresh;
    const nOwn = of(found, biggest).length;
    assert.ok(nOwn > 1, "somebody has two segments");
    const id = await splitBySegment(two.page, biggest, nOwn);
    await cardsAre(pages, n + 1, "one more on both pages");
    const picked = await daemon.snapshot("pair");
    const newest = picked.segments.find((s) => s.id === id).speaker;
    assert.ok(!found.speakers.some((s) => s.id === newest), "it went to a new speaker");
    assert.deepEqual(of(picked, newest), [id], "and alone");

    await giveToSomebodyNew(one.page, picked.speakers.map((s) => s.id).find((one) => of(picked, one).length > 1));
    await until(async () => (await daemon.snapshot("pair")).speakers.length === n + 2, "a speaker more");
    await cardsAre([two.page], n + 2, "a card more on the other page");

    // A speaker with one segment cannot be split: the server refuses, and nothing changes.
    await two.page.getByRole("button", { name: `Split: ${newest}` }).click();
    await two.page.getByRole("dialog").getByRole("button", { name: "Split" }).click();
    await toast(two.page, "That did not work");
    await feed.finish();
    await until(async () => (await two.page.locator(".state").textContent()).startsWith("This session has ended"), "the end");
    assert.equal(await two.page.getByRole("button", { name: `Merge: ${newest}` }).isDisabled(), false, "it is corrected after its end, too");
    await close(one, two);
});
