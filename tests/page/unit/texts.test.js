// Every text is there in every language, with the same places to fill, and every text that is asked for exists.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { FORMS, LANGUAGES, bestLanguage, clock, setLanguage, t } from "../../../daemon/page/app/texts/index.js";

const places = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();

test("languages have the same texts with the same places", () => {
    for (const [tag, texts] of Object.entries(LANGUAGES)) {
        assert.deepEqual(Object.keys(texts).sort(), Object.keys(LANGUAGES.en).sort(), tag);
        for (const [key, text] of Object.entries(texts)) {
            const english = LANGUAGES.en[key];
            assert.equal(Array.isArray(text), Array.isArray(english), `${tag} ${key}`);
            const forms = [text].flat();
            if (Array.isArray(text)) assert.equal(forms.length, FORMS[tag].length, `${tag} ${key}`);
            for (const form of forms) {
                assert.ok(form.trim().length > 0);
                assert.deepEqual(places(form), places([english].flat()[0]), `${tag} ${key}`);
            }
        }
    }
});

test("every text that the page asks for exists, and every one that exists is asked for", () => {
    const root = new URL("../../../daemon/page/app/", import.meta.url);
    const sources = readdirSync(root, { recursive: true })
        .filter((name) => name.endsWith(".js") && !name.startsWith("texts"))
        .map((name) => readFileSync(new URL(name, root), "utf8"))
        .join("\n");
    const asked = new Set([...sources.matchAll(/["'`]([a-z]+\.[a-zA-Z_]+)["'`]/g)].map((match) => match[1]));
    const built = [...sources.matchAll(/`([a-z]+)\.\$\{|known\("([a-z]+)"/g)].map((match) => match[1] ?? match[2]);
    for (const [, key] of sources.matchAll(/\bt\("([^"]+)"/g)) {
        assert.ok(Object.hasOwn(LANGUAGES.en, key), `${key} is asked for`);
    }
    const isAsked = (key) => asked.has(key) || built.includes(key.split(".")[0]) || key === "language";
    assert.deepEqual(Object.keys(LANGUAGES.en).filter((key) => !isAsked(key)), [], "never asked for");
});

test("plural forms follow the language", () => {
    setLanguage("ru");
    const said = [1, 2, 5, 21].map((n) => t("count.speakers", { n }));
    assert.deepEqual(said, ["1 голос", "2 голоса", "5 голосов", "21 голос"]);
    setLanguage("en");
    assert.deepEqual([t("count.speakers", { n: 1 }), t("count.speakers", { n: 0 })], ["1 speaker", "0 speakers"]);
});

test("what fills a place is not read again", () => {
    assert.equal(t("now.says", { name: "{name} $& <b>" }), "{name} $& <b> is speaking");
});

test("times read as on a clock", () => {
    assert.deepEqual([0, 7.4, 59.999, 754, 3723].map((s) => clock(s)), ["0:00", "0:07", "0:59", "12:34", "1:02:03"]);
    assert.deepEqual([clock(7.46, 1), clock(0.3, 1), clock(61.25, 2)], ["0:07.4", "0:00.3", "1:01.25"]);
});

test("the language is the first that the person reads", () => {
    assert.deepEqual([bestLanguage(["de", "ru-RU", "en"]), bestLanguage(["de"]), bestLanguage([])], ["ru", "en", "en"]);
});
