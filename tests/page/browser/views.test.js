// How views look and behave in odd places: full screen, long names, many lanes, two voices, silence, keys switched off.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { lookOf } from "../../../daemon/page/app/palette.js";
import { Daemon, accessibilityFaults, browse, open, openScripted, pointsOf, say, until } from "./harness.js";

let daemon;
let browser;

before(async () => {
    daemon = await Daemon.start();
    browser = await browse();
});

after(async () => {
    await browser?.close();
    await daemon?.stop();
});

/** A snapshot of segments `[start, end, speaker]`; more fields of a segment may follow. */
function snapshot(rows, { names = {}, at, live = true, ...more } = {}) {
    const labels = [...new Set(rows.map((row) => row[2]))];
    return {
        type: "snapshot", session: "s", seq: 1, at: at ?? Math.max(...rows.map((row) => row[1])), live, source: "stream", gaps: [],
        speakers: labels.map((id) => ({ id, first_s: 0, ...(names[id] ? { name: names[id] } : {}) })),
        segments: rows.map(([start, end, speaker, fields], i) => (
            { id: i + 1, start, end, speaker, confidence: 0.9, final: true, ...fields }
        )),
        ...more,
    };
}

/** Sends the same position repeatedly, so that the page's clock stays there. */
function stand(socket, at, fields = {}) {
    say(socket, {
        type: "stats", session: "s", lag_s: 0, rtf: 0.02, dropped_s: 0, heard_s: at, level_dbfs: -20, speech: true, ...fields,
    });
}

const show = (hash, told, { at, ...options } = {}) => openScripted(browser, daemon.url, hash, {
    speak: (socket) => {
        say(socket, told);
        stand(socket, at ?? told.at);
    },
    ...options,
});

test("the first view fills the screen, still shows trouble, and comes back", async () => {
    const { page, context, sockets, trouble } = await show("#/now?session=s", snapshot([[0, 900, "S1"]], { at: 10 }));
    await until(async () => (await page.locator(".now-name").textContent()) === "S1", "somebody");
    await page.keyboard.press("f");
    await until(() => page.evaluate(() => document.fullscreenElement !== null), "the browser's full screen");
    assert.equal(await page.locator(".side").isVisible(), false);
    const share = await page.locator(".now-stage").evaluate((stage) => stage.clientWidth / innerWidth);
    assert.ok(share > 0.9, `the stage takes ${share} of the width`);
    assert.deepEqual(await accessibilityFaults(page), []);
    await context.route("**/v1/sessions", (route) => route.fulfill({ status: 401, json: { type: "error", code: "unauthorised", reason: "no", fatal: true } }));
    sockets[0].close({ code: 4401, reason: "revoked" });
    const field = page.getByRole("textbox", { name: "Token" });
    await until(() => field.isVisible(), "the question for a token, on the full screen");
    await context.unroute("**/v1/sessions");
    await context.route("**/v1/sessions", (route) => route.fulfill({ json: { version: "1", model: "m", sessions: [] } }));
    await field.fill("t");
    await page.keyboard.press("Enter");
    await until(async () => !(await field.isVisible()), "the page");
    await page.getByRole("button", { name: "Leave full screen" }).click();
    await until(() => page.locator(".side").isVisible(), "the frame again");
    assert.equal(await page.evaluate(() => document.fullscreenElement), null);
    await page.keyboard.press("f");
    await until(() => page.evaluate(() => document.fullscreenElement !== null), "full screen again");
    await page.keyboard.press("2");
    await until(() => page.locator(".side").isVisible(), "another view has its frame");
    assert.deepEqual(trouble.filter((what) => !/401/.test(what)), []);
    await context.close();
});

test("words stand with their speaker, in the list and in the panel of a segment", async () => {
    const words = [["hello", 1], ["<b>there</b>", 1], ["yes", 2]].map(([text, segment], i) => (
        { id: i + 1, start: 0.2 + i, end: 0.5 + i, text, final: true, speaker: `S${segment}`, segment, speaker_confidence: 0.9 }
    ));
    const told = snapshot([[0, 2, "S1"], [2, 9, "S2"]], { words });
    const { page, context, sockets, trouble } = await show("#/now?session=s", told);
    await until(async () => (await page.locator(".now-said").textContent()) === "yes", "the words below the name");
    assert.deepEqual(await accessibilityFaults(page), []);
    await page.keyboard.press("2");
    const said = page.locator("tbody .said");
    await until(async () => (await said.allTextContents()).join("|") === "yes|hello <b>there</b>", "the list");
    say(sockets[0], { type: "words", session: "s", seq: 2, at: 9, words: [{ ...words[2], text: "no" }], removed: [] });
    await until(async () => (await said.first().textContent()) === "no", "a changed word");
    await page.locator("tbody button").last().click();
    await until(async () => (await page.locator(".panel .said").textContent()) === "hello <b>there</b>", "the panel");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a long list of turns grows as it is scrolled, follows events, and is searched", async () => {
    const told = snapshot(Array.from({ length: 2000 }, (_, i) => [i, i + 0.9, `S${1 + (i % 3)}`]), { names: { S2: "Ada" } });
    const { page, sockets, context, trouble } = await show("#/turns?session=s", told);
    const rows = page.locator(".turn");
    await until(async () => (await rows.count()) === 300, "the first turns");
    await page.locator(".turns-list").hover();
    await until(async () => {
        await page.mouse.wheel(0, 4000);
        return (await rows.count()) > 700;
    }, "more turns");
    const times = await page.locator(".turn-time").allTextContents();
    assert.deepEqual(times.slice(0, 3).concat(times[700]), ["0:00.0", "0:01.0", "0:02.0", "11:40.0"]);

    // What is found again stands in rows that other turns had.
    await page.getByLabel("Search turns").fill("ada");
    await until(async () => (await page.locator(".turns [role=status]").textContent()) === "667 turns", "Ada's turns");
    const ofAda = async () => [...new Set(await page.locator(".turn-name").allTextContents())];
    await until(async () => (await ofAda()).join() === "Ada", "rows of Ada alone");
    assert.equal(await page.locator(".turn .turn-name").first().getAttribute("aria-label"), "Ada, at 0:01.0: choose another speaker");
    say(sockets[0], { type: "speaker", session: "s", seq: 2, at: 2000, id: "S2", name: "Ada Lovelace", first_s: 1 });
    await until(async () => (await ofAda()).join() === "Ada Lovelace", "the name in every row");
    say(sockets[0], { type: "revision", session: "s", seq: 3, at: 2000, changes: [{ id: 2, from: "S2", to: "S1" }], reason: "merge" });
    await until(async () => (await page.locator(".turn-time").first().textContent()) === "0:04.0", "the turn is another's");
    await page.getByLabel("Search turns").fill("");
    await until(async () => (await page.locator(".turn-name").nth(1).textContent()) === "S1", "it stands with the others");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a browser without full screen gives the window", async () => {
    const { page, context, trouble } = await open(browser, daemon.url, { isBlank: true });
    await page.addInitScript(() => { delete Element.prototype.requestFullscreen; });
    await context.routeWebSocket(/\/v1\/events/, (socket) => say(socket, snapshot([[0, 900, "S1"]], { at: 10 })));
    await page.goto(`${daemon.url}#/now?session=s`);
    await page.getByRole("button", { name: "Full screen" }).click();
    await until(async () => !(await page.locator(".side").isVisible()), "no frame");
    await page.keyboard.press("Escape");
    await until(() => page.locator(".side").isVisible(), "the frame again");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("names of any length and number stay within the stage, at every width", async () => {
    const long = "Maximiliane-Friederike von und zu Hohenstein-Wittelsbach";
    const cases = [
        [{ S1: "Ada" }, 1], [{ S1: long }, 1], [{ S1: long, S2: long }, 2], [{ S1: "Ada", S2: long, S3: "Bo" }, 3],
        [{ S1: "A".repeat(100), S2: "B" }, 2],
    ];
    const { page, context, sockets, trouble } = await show("#/now?session=s", snapshot([[0, 900, "S1"]], { at: 10 }));
    await until(() => page.locator(".now-name").isVisible(), "the view");
    for (const [width, height] of [[1280, 800], [390, 844], [360, 640], [844, 390]]) {
        await page.setViewportSize({ width, height });
        for (const [names, n] of cases) {
            const rows = Array.from({ length: n }, (_, i) => [i / 10, 900, `S${i + 1}`, { final: false }]);
            say(sockets[0], snapshot(rows, { names, at: 10 }));
            const wanted = Object.values(names).join();
            await until(async () => (await page.locator(".now-name").allTextContents()).join() === wanted, "names");
            await page.waitForTimeout(60);
            const outside = await page.evaluate(() => {
                const [stage, top] = [".now-stage", ".now-top"].map((one) => document.querySelector(one).getBoundingClientRect());
                const floor = document.querySelector(".now-level").getBoundingClientRect().top;
                return [...document.querySelectorAll(".now-person")].map((one) => one.getBoundingClientRect())
                    .filter((box) => box.top < top.bottom - 1 || box.bottom > floor + 1 || box.right > stage.right)
                    .length;
            });
            assert.equal(outside, 0, `${width} × ${height}: ${JSON.stringify(names)}`);
        }
    }
    assert.deepEqual(trouble, []);
    await context.close();
});

test("two voices are both named, and only while both are heard", async () => {
    const rows = [[0, 30, "S1", { overlap: true }], [8, 12, "S2", { overlap: true }]];
    const { page, context, sockets, trouble } = await show("#/now?session=s", snapshot(rows, { names: { S1: "Ada" }, at: 5 }), { at: 9 });
    const shown = () => page.locator(".now-name").allTextContents();
    await until(async () => (await shown()).join() === "Ada,S2", "both");
    assert.equal(await page.locator(".now-overlap").isVisible(), true);
    await until(async () => (await page.locator("#announcer").textContent()) === "Ada and S2 are speaking", "said to screen readers");
    stand(sockets[0], 15);
    await until(async () => (await shown()).join() === "Ada", "the one who goes on");
    assert.equal(await page.locator(".now-overlap").isVisible(), false);
    assert.deepEqual(trouble, []);
    await context.close();
});

test("nobody speaks, somebody does, no sound comes: each is said as it is", async () => {
    const { page, context, sockets, trouble } = await show("#/now?session=s", snapshot([[0, 5, "S1"]], { at: 10 }));
    const quiet = page.locator(".now-quiet");
    await until(async () => (await quiet.textContent()) === "Somebody is speaking", "speech without a label");
    stand(sockets[0], 14, { speech: false });
    await until(async () => (await quiet.textContent()) === "Nobody is speaking", "silence");
    await until(async () => (await quiet.textContent()) === "No sound is coming in", "a source that sends nothing");
    assert.equal(await page.locator(".now-level-text").textContent(), "–");
    stand(sockets[0], 20, { speech: false });
    await until(async () => (await quiet.textContent()) === "Nobody is speaking", "sound again");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a session that has ended looks as it did while it ran", async () => {
    const rows = [[0, 5, "S1"], [5, 9, "S2"], [9, 30, "S3"]];
    const { page, context, trouble } = await show("#/speakers?session=s", snapshot(rows, { live: false, reason: "closed" }));
    await until(async () => (await page.locator(".person").count()) === 3, "cards");
    // Every swatch shows its speaker's colour without a further event that would draw it again.
    const colours = () => page.evaluate(() => [...document.querySelectorAll(".person > .swatch, .shares > .swatch")].map((one) => {
        const { width, height } = one.firstChild;
        const { data } = one.firstChild.getContext("2d").getImageData(Math.floor(width / 2), Math.floor(height / 2), 1, 1);
        const isSharp = Math.abs(width / one.clientWidth - 2) < 0.01 && Math.abs(height / one.clientHeight - 2) < 0.01;
        return { alpha: data[3], isSharp };
    }));
    const all = await colours();
    assert.equal(all.length, 6);
    assert.deepEqual(all.filter(({ alpha, isSharp }) => alpha !== 255 || !isSharp), []);
    assert.equal(await page.getByRole("button", { name: /^(Rename|Merge|Split)/ }).count(), 9);
    assert.equal(await page.getByRole("button", { name: /^(Rename|Merge|Split)/, disabled: false }).count(), 9, "and can be corrected");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a hundred lanes scroll under their times; hovering and keys reach the last one", async () => {
    const rows = Array.from({ length: 100 }, (_, i) => [i * 0.4, i * 0.4 + 20, `S${i + 1}`]);
    const { page, context, trouble } = await show("#/timeline?session=s", snapshot(rows));
    const canvas = page.locator(".lanes");
    await until(async () => (await canvas.getAttribute("aria-label"))?.includes("100 speakers"), "lanes");
    await page.getByRole("button", { name: "Show everything" }).click();
    const { height } = await canvas.evaluate((one) => ({ height: one.height }));
    assert.ok(height < 1000, `the canvas is no higher than what is seen: ${height}`);
    const box = await canvas.boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + 100);
    await page.mouse.wheel(0, 100_000);
    const scroller = page.locator(".lanes-scroll");
    await until(() => scroller.evaluate((one) => one.scrollTop + one.clientHeight > one.scrollHeight - 2), "the last lanes");
    // The last lanes' segments lie at the right end.
    await page.mouse.move(box.x + box.width * 0.8, box.y + box.height - 25);
    await until(async () => /^S(99|100) · 0:\d\d\.\d – 0:\d\d\.\d · 90% · settled$/.test(await page.locator(".tip").textContent()), "the tip");
    await page.mouse.down();
    await page.mouse.up();
    await until(async () => /^S(99|100)$/.test(await page.locator(".panel h2").textContent()), "the panel of that segment");
    await canvas.focus();
    await page.keyboard.press("Escape");
    await scroller.evaluate((one) => { one.scrollTop = 0; });
    await page.keyboard.press("Shift+ArrowRight");
    await until(() => scroller.evaluate((one) => one.scrollTop > 100), "the lane of the segment is shown");
    await until(async () => (await pointsOf(page, ".lanes", "S100")) > 100, "its colour");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("the past stays in sight while the session goes on, and one press leads back to now", async () => {
    const rows = Array.from({ length: 2000 }, (_, i) => [i * 5, i * 5 + 4, `S${1 + (i % 3)}`]);
    const { page, context, sockets, trouble } = await show("#/timeline?session=s", snapshot(rows));
    const canvas = page.locator(".lanes");
    await until(async () => (await canvas.getAttribute("aria-label"))?.includes("2:46:"), "hours");
    const live = page.locator(".button.live");
    const isLive = async () => (await live.getAttribute("data-on")) !== null;
    assert.equal(await isLive(), true);
    const box = await canvas.boundingBox();
    const drag = async (by) => {
        await page.mouse.move(box.x + box.width / 2, box.y + 80);
        await page.mouse.down();
        await page.mouse.move(box.x + box.width / 2 + by, box.y + 80, { steps: 5 });
        await page.mouse.up();
    };
    await drag(400);
    await until(async () => !await isLive(), "the past");
    const look = () => canvas.evaluate((one) => one.toDataURL());
    await page.mouse.move(box.x + box.width / 2, box.y - 40);
    await page.waitForTimeout(300);
    const before = await look();
    stand(sockets[0], rows.at(-1)[1] + 30);
    await page.waitForTimeout(1200);
    assert.equal(await look(), before, "nothing moves away under the eyes");
    // Hours back by the strip of the whole session.
    const strip = await page.locator(".overview").boundingBox();
    await page.mouse.click(strip.x + strip.width * 0.1, strip.y + 20);
    await until(async () => (await look()) !== before, "hours earlier");
    assert.equal(await isLive(), false);
    await live.click();
    await until(isLive, "now");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("a revision is seen on its way between two lanes", async () => {
    // The page's clock stands and is moved a frame at a time, so that a busy machine sees the same.
    const { page, context, sockets, trouble } = await show("#/timeline?session=s", snapshot([[0, 20, "S1"], [22, 40, "S2"]]), {
        prepare: (one) => one.clock.install(),
    });
    const canvas = page.locator(".lanes");
    await until(async () => (await canvas.getAttribute("aria-label"))?.includes("2 speakers"), "lanes");
    await page.clock.pauseAt(Date.now() + 60_000);
    say(sockets[0], {
        type: "revision", session: "s", seq: 2, at: 40, changes: [{ id: 2, from: "S2", to: "S1" }], reason: "reassign",
    });
    // Where the second segment lies in the column of its middle, from above, in the first speaker's colour.
    const colour = [1, 3, 5].map((at) => Number.parseInt(lookOf("S1").colour.light.slice(at, at + 2), 16));
    const height = () => page.evaluate(([red, green, blue]) => {
        const one = document.querySelector(".lanes");
        const column = Object.assign(document.createElement("canvas"), { width: 1, height: one.height - 40 });
        const pen = column.getContext("2d", { willReadFrequently: true });
        pen.drawImage(one, -Math.round(one.width * 0.75), -40);
        const { data } = pen.getImageData(0, 0, 1, column.height);
        for (let y = 0; y * 4 < data.length; y += 1) {
            if (data[y * 4] === red && data[y * 4 + 1] === green && data[y * 4 + 2] === blue) return y;
        }
        return undefined;
    }, colour);
    await until(async () => {
        await page.clock.runFor(1);
        return await height() !== undefined;
    }, "the first speaker's colour");
    const heights = [];
    for (let i = 0; i < 40; i += 1) {
        heights.push(await height());
        await page.clock.runFor(16);
    }
    const way = heights.at(0) - heights.at(-1);
    const steps = heights.slice(1).map((y, i) => heights[i] - y);
    assert.ok(way > 25, `it has gone up by a lane: ${heights.join(" ")}`);
    assert.ok(steps.every((step) => step >= 0 && step < way / 3), `and did not jump: ${heights.join(" ")}`);
    assert.ok(new Set(heights).size > 8, `through many places: ${heights.join(" ")}`);
    assert.deepEqual(trouble, []);
    await context.close();
});

test("keys are told, work on a Russian keyboard, and can be switched off", async () => {
    const { page, context, trouble } = await show("#/now?session=s", snapshot([[0, 900, "S1"]], { at: 10 }));
    await page.keyboard.press("?");
    const dialog = page.getByRole("dialog");
    await until(() => dialog.isVisible(), "the keys");
    assert.deepEqual(await accessibilityFaults(page), []);
    await page.keyboard.press("Escape");
    await page.evaluate(() => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "а", code: "KeyF", bubbles: true })));
    await until(async () => !(await page.locator(".side").isVisible()), "full screen by the place of the key");
    await page.getByRole("button", { name: "Leave full screen" }).click();
    await page.getByRole("button", { name: "Keys" }).click();
    await dialog.getByLabel("Single keys act anywhere on the page").uncheck();
    await page.keyboard.press("Escape");
    for (const key of ["2", "f", "?"]) await page.keyboard.press(key);
    await page.waitForTimeout(300);
    assert.equal(await page.locator(".view.now").isVisible() && await page.locator(".side").isVisible(), true, "nothing happened");
    await page.reload();
    await until(() => page.locator(".view.now").isVisible(), "the page");
    await page.keyboard.press("2");
    await page.waitForTimeout(300);
    assert.equal(await page.locator(".view.now").isVisible(), true, "the choice is remembered");
    assert.deepEqual(trouble, []);
    await context.close();
});

test("the screen stays on while the page shows who speaks to a room, and no longer", async () => {
    const { page, context, trouble } = await open(browser, daemon.url, { isBlank: true });
    await page.addInitScript(() => {
        globalThis.locks = [];
        Object.defineProperty(navigator, "wakeLock", {
            value: {
                async request(type) {
                    const lock = Object.assign(new EventTarget(), { type, isHeld: true });
                    lock.release = async () => {
                        lock.isHeld = false;
                        lock.dispatchEvent(new Event("release"));
                    };
                    globalThis.locks.push(lock);
                    return lock;
                },
            },
        });
    });
    await context.routeWebSocket(/\/v1\/events/, (socket) => say(socket, snapshot([[0, 900, "S1"]], { at: 10 })));
    await page.goto(`${daemon.url}#/now?session=s`);
    const held = () => page.evaluate(() => globalThis.locks.filter((lock) => lock.isHeld).length);
    await until(() => page.locator(".now-name").isVisible(), "somebody");
    assert.equal(await held(), 0);
    await page.keyboard.press("f");
    await until(async () => (await held()) === 1, "the screen stays on");
    // The browser lets go while the page is hidden, and is asked again when it is back.
    await page.evaluate(() => globalThis.locks[0].release());
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await until(async () => (await held()) === 1, "again");
    await page.getByRole("button", { name: "Leave full screen" }).click();
    await until(async () => (await held()) === 0, "released");
    assert.deepEqual(trouble, []);
    await context.close();
});
