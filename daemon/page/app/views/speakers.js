// Everybody who spoke: how much, and what a person can correct.

import { talk } from "../../client/index.js";
import { attribute, h, icon, keyed, text } from "../dom.js";
import { canPlay } from "../playing.js";
import { swatch } from "../swatch.js";
import { clock, percent, t } from "../texts/index.js";
import { mergeDialog } from "./merge.js";
import { splitDialog } from "./split.js";
import { voices } from "./voices.js";

const EVERY_MS = 250;

export function speakersView(app) {
    const { store, settings } = app;
    const title = h("h1", {});
    const none = h("p", { class: "quiet", hidden: true });
    const shares = h("div", { class: "shares", "aria-hidden": "true" });
    const list = h("ul", { class: "people" });
    const merge = mergeDialog(app);
    const split = splitDialog(app);
    const voice = voices(app);
    const element = h("section", { class: "view speakers" },
        h("div", { class: "view-head" }, title), h("div", { class: "card shares-card" }, shares), none, list,
        voice.element, merge.element, split.element);
    let updatedAt = -Infinity;
    let rows = { version: -1 };
    let editing;

    function card({ id }) {
        const parts = {
            band: swatch("tall"),
            name: h("h2", { class: "person-name" }),
            label: h("span", { class: "person-label" }),
            field: h("input", { type: "text", maxlength: "100", autocomplete: "off", spellcheck: "false" }),
            save: h("button", { type: "submit", class: "button primary small" }),
            cancel: h("button", { type: "button", class: "button small" }),
            rename: h("button", { type: "button", class: "button small" }),
            merge: h("button", { type: "button", class: "button small" }),
            split: h("button", { type: "button", class: "button small" }),
            know: h("button", { type: "button", class: "button small" }),
            who: h("button", { type: "button", class: "button small", on: { click: () => app.playing.whoIs(id) } }),
            sure: h("p", { class: "hint" }),
            share: h("span", { class: "person-share" }),
            bar: h("span", { class: "meter-fill" }),
            values: {},
        };
        const facts = h("dl", { class: "facts" }, ...["talk", "turns", "longest", "last"].map((key) => {
            parts.values[key] = [h("dt", {}), h("dd", {})];
            return h("div", {}, ...parts.values[key]);
        }));
        parts.form = h("form", { class: "rename", hidden: true }, parts.field, parts.save, parts.cancel);
        parts.shown = h("div", { class: "person-names" }, parts.name, parts.label);
        const end = () => {
            editing = undefined;
            attribute(parts.form, "hidden", true);
            attribute(parts.shown, "hidden", false);
            attribute(parts.acts, "hidden", false);
            parts.rename.focus();
        };
        parts.rename.addEventListener("click", () => {
            editing = id;
            parts.field.value = store.followed.model.speakers.get(id)?.name ?? "";
            attribute(parts.form, "hidden", false);
            attribute(parts.shown, "hidden", true);
            attribute(parts.acts, "hidden", true);
            parts.field.focus();
            parts.field.select();
        });
        parts.form.addEventListener("submit", (event) => {
            event.preventDefault();
            app.correct({ type: "rename", speaker: id, name: parts.field.value.trim() });
            end();
        });
        parts.cancel.addEventListener("click", end);
        parts.field.addEventListener("keydown", (event) => {
            if (event.key === "Escape") end();
        });
        parts.merge.addEventListener("click", () => merge.open(id));
        parts.split.addEventListener("click", () => split.open(id));
        parts.know.addEventListener("click", () => {
            const { model } = store.followed;
            if (model.speakers.has(id)) voice.open(model.id, model.speakers.get(id));
        });
        parts.acts = h("div", { class: "acts" }, parts.who, parts.rename, parts.merge, parts.split, parts.know);
        const item = h("li", { class: "card person" }, parts.band,
            h("div", { class: "person-body" },
                h("div", { class: "person-head" }, parts.shown, parts.form, parts.share),
                h("span", { class: "meter", "aria-hidden": "true" }, parts.bar),
                facts, parts.sure, parts.acts));
        return Object.assign(item, { parts });
    }

    function show({ parts }, row, { canCorrect, n }) {
        const name = row.name ?? row.id;
        text(parts.name, name);
        text(parts.label, row.name ? row.id : "");
        text(parts.share, percent(row.share));
        parts.bar.style.setProperty("--share", row.share.toFixed(4));
        const values = {
            talk: clock(row.total_s), turns: String(row.turns), longest: clock(row.longest_s, 1), last: clock(row.last_s),
        };
        for (const [key, [term, value]] of Object.entries(parts.values)) {
            text(term, t(`speakers.${key}`));
            text(value, values[key]);
        }
        attribute(parts.field, "aria-label", t("speakers.renameLabel", { label: row.id }));
        text(parts.save, t("speakers.save"));
        text(parts.cancel, t("speakers.cancel"));
        act(parts.rename, "edit", t("speakers.rename"), name, !canCorrect);
        act(parts.merge, "merge", t("speakers.merge"), name, !canCorrect || n < 2);
        act(parts.split, "split", t("speakers.split"), name, !canCorrect);
        act(parts.who, "play", t("play.who"), name, false);
        attribute(parts.who, "hidden", !canPlay(store.followed));
        act(parts.know, "voice", t("voices.know"), name, false);
        attribute(parts.know, "hidden", !voice.isOn || voice.isKnown(row));
        const sure = voice.describe(row);
        text(parts.sure, sure);
        attribute(parts.sure, "hidden", sure === "");
    }

    function act(button, picture, word, name, isDisabled) {
        if (button.dataset.word !== word) {
            button.dataset.word = word;
            button.replaceChildren(icon(picture), word);
        }
        attribute(button, "aria-label", `${word}: ${name}`);
        attribute(button, "disabled", isDisabled);
    }

    function update(nowMs) {
        const { followed } = store;
        const { model } = followed;
        voice.update();
        const isOther = rows.model !== model || rows.shade !== settings.shade
            || rows.canCorrect !== followed.canCorrect || rows.language !== settings.language
            || rows.canPlay !== canPlay(followed) || rows.known !== voice.version || rows.width !== element.clientWidth;
        const isDue = rows.version !== model.version && nowMs - updatedAt > EVERY_MS;
        if (!isOther && !isDue) {
            if (rows.version !== model.version) setTimeout(app.redraw, EVERY_MS);
            return;
        }
        updatedAt = nowMs;
        rows = {
            model, version: model.version, shade: settings.shade, canCorrect: followed.canCorrect,
            language: settings.language, canPlay: canPlay(followed), known: voice.version, width: element.clientWidth,
        };
        const all = talk(model);
        attribute(none, "hidden", all.length > 0);
        attribute(shares.parentElement, "hidden", all.length === 0);
        const heard = all.filter((row) => row.share > 0);
        keyed(shares, heard, (row) => row.id, () => swatch("share"), (bar, row) => {
            bar.style.setProperty("--share", row.share.toFixed(4));
        });
        keyed(list, all, (row) => `${model.id}/${row.id}`, card, (item, row) => {
            show(item, row, { canCorrect: followed.canCorrect, n: all.length });
        });
        // Painted when all have their places, which is when they have their sizes.
        heard.forEach((row, idx) => shares.children[idx].paint(settings.shade, row.id));
        all.forEach((row, idx) => list.children[idx].parts.band.paint(settings.shade, row.id));
        merge.update(followed);
        split.update(followed);
        if (editing !== undefined && !model.speakers.has(editing)) editing = undefined;
    }

    function words() {
        text(title, t("speakers.title"));
        text(none, t("speakers.none"));
        merge.words();
        split.words();
        voice.words();
        rows = { version: -1 };
    }

    words();
    return { element, needsSession: true, update, words, show: voice.load };
}
