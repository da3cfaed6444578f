// People whom the server knows by voice: enrol a speaker, see who is known, forget them.

import { confirmation } from "../confirmation.js";
import { attribute, button, h, keyed, label, text } from "../dom.js";
import { clock, locale, number, t } from "../texts/index.js";

/** The people whom the server knows by voice, as far as this user may see them. */
class KnownVoices {
    /** `changed` is called when there are others. */
    constructor(store, changed) {
        this.store = store;
        this.changed = changed;
        /** Everybody who is enrolled; `undefined` while that is not known or the server knows nobody by voice. */
        this.all = undefined;
        /** Counts changes of `all`. */
        this.version = 0;
        /** The answer of the server's list of sessions that was last followed by a question for the voices. */
        this.askedWith = undefined;
        this.isRefused = false;
    }

    /** Asks after every answer of the server: others enrol and forget, too. */
    follow() {
        if (this.askedWith !== this.store.server) void this.load();
    }

    /** Asks again, even where the server refused before. */
    reload() {
        this.isRefused = false;
        void this.load();
    }

    async load() {
        const { store } = this;
        // A server that knows nobody by voice is not asked: browsers write refusals on their console.
        const isAsked = store.server.voices === true && !this.isRefused;
        this.askedWith = store.server;
        let answer;
        try {
            answer = isAsked ? await store.api.voices() : undefined;
        } catch (error) {
            // A user without access to voices sees no list; an unreachable server is asked again.
            this.isRefused = error.isUnauthorised;
            if (!this.isRefused) return;
        }
        if (JSON.stringify(answer) === JSON.stringify(this.all)) return;
        this.all = answer;
        this.version += 1;
        this.changed();
    }

    /** Whether the server knows this speaker; one that was forgotten may keep the name that a person gave. */
    has(speaker) {
        return speaker.voice !== undefined && this.all?.some((voice) => voice.id === speaker.voice) === true;
    }
}

/** The list of known voices below the speakers, and the dialog that enrols one. */
export function voices(app) {
    const known = new KnownVoices(app.store, app.redraw);
    const title = h("h2", {});
    const note = h("p", { class: "hint" });
    const none = h("p", { class: "quiet" });
    const list = h("ul", { class: "voices" });
    const confirm = confirmation("confirm-voice");
    const enrol = enrolment(app, () => void known.load());
    const element = h("section", { class: "card voices-card", hidden: true }, title, note, none, list,
        confirm.element, enrol.element);

    async function forget(voice) {
        if (!await confirm.ask(t("voices.confirm", { name: voice.name }), t("voices.forget"))) return;
        try {
            await app.store.api.forget(voice.id);
            app.say(t("voices.forgotten", { name: voice.name }));
        } catch (error) {
            app.sayFault(error);
        }
        await known.load();
    }

    return {
        element,
        update() {
            known.follow();
            attribute(element, "hidden", known.all === undefined);
            if (known.all === undefined) return;
            attribute(none, "hidden", known.all.length > 0);
            keyed(list, known.all, (voice) => voice.id, (voice) => voiceRow(voice, forget), showVoice);
        },
        load: () => known.reload(),
        get version() {
            return known.version;
        },
        /** Whether speakers can be enrolled here. */
        get isOn() {
            return known.all !== undefined;
        },
        isKnown: (speaker) => known.has(speaker),
        /** What is known of the person whose voice this is. */
        describe: (speaker) => (known.has(speaker) && speaker.probability !== undefined
            ? t("voices.sure", { percent: number(speaker.probability * 100) }) : ""),
        open: (session, speaker) => enrol.open(session, speaker),
        words() {
            text(title, t("voices.title"));
            text(note, t("voices.note"));
            text(none, t("voices.none"));
            confirm.words();
            enrol.words();
        },
    };
}

function voiceRow(voice, forget) {
    const parts = {
        name: h("span", { class: "voice-name" }),
        facts: h("span", { class: "quiet" }),
        forget: button("button small danger", () => void forget(voice)),
    };
    return Object.assign(h("li", {}, h("div", {}, parts.name, parts.facts), parts.forget), { parts });
}

function showVoice({ parts }, voice) {
    text(parts.name, voice.name);
    const began = new Date(voice.created_unix_s * 1000).toLocaleDateString(locale());
    const facts = [t("voices.since", { date: began }), t("voices.speech", { time: clock(voice.speech_s) })];
    if (voice.consent) facts.push(t("voices.consentNote", { note: voice.consent }));
    if (voice.recognisable === false) facts.push(t("voices.otherModel"));
    text(parts.facts, facts.join(" · "));
    label(parts.forget, "trash", t("voices.forget"), voice.name);
}

/** Asks for a name and for consent before a voice is kept. */
function enrolment(app, done) {
    const { store } = app;
    const title = h("h2", { id: "enrol-title" });
    const about = h("p", { class: "hint" });
    const name = h("input", { id: "enrol-name", type: "text", maxlength: "100", autocomplete: "off", required: true });
    const nameLabel = h("label", { for: "enrol-name" });
    const note = h("input", { id: "enrol-note", type: "text", maxlength: "200", autocomplete: "off" });
    const noteLabel = h("label", { for: "enrol-note" });
    const agreed = h("input", { type: "checkbox", required: true });
    const agreedText = h("span", {});
    const fault = h("p", { class: "fault", role: "alert", hidden: true });
    const act = h("button", { type: "submit", class: "button primary" });
    const insist = button("button", () => void enrol(true));
    const cancel = button("button", () => element.close());
    const form = h("form", {}, title, about, h("div", { class: "field" }, nameLabel, name),
        h("label", { class: "check" }, agreed, agreedText), h("div", { class: "field" }, noteLabel, note), fault,
        h("div", { class: "acts" }, act, insist, cancel));
    const element = h("dialog", { "aria-labelledby": "enrol-title" }, form);
    let from;

    form.addEventListener("submit", (event) => {
        event.preventDefault();
        void enrol();
    });

    /** `force`: the person insists that a voice which sounds like a known one is somebody else's. */
    async function enrol(force) {
        if (!form.reportValidity()) return;
        attribute(act, "disabled", true);
        attribute(insist, "hidden", true);
        attribute(fault, "hidden", true);
        const consent = note.value.trim() || undefined;
        try {
            const voice = await store.api.enrol({ ...from, name: name.value.trim(), consent, force });
            element.close();
            app.say(t("voices.enrolled", { name: voice.name }));
            done();
        } catch (error) {
            text(fault, error.isUnauthorised ? t("login.forbidden") : error.message);
            attribute(fault, "hidden", false);
            // The reason names whose voice it sounds like.
            attribute(insist, "hidden", error.code !== "conflict");
        }
        attribute(act, "disabled", false);
    }

    return {
        element,
        words() {
            text(about, t("voices.about"));
            text(nameLabel, t("voices.name"));
            text(noteLabel, t("voices.consent"));
            text(agreedText, t("voices.agreed"));
            text(act, t("voices.enrol"));
            text(insist, t("voices.insist"));
            text(cancel, t("speakers.cancel"));
        },
        open(session, speaker) {
            from = { session, speaker: speaker.id };
            form.reset();
            name.value = speaker.name ?? "";
            text(title, t("voices.enrolTitle", { name: speaker.name ?? speaker.id }));
            attribute(fault, "hidden", true);
            attribute(insist, "hidden", true);
            element.showModal();
            name.focus();
        },
    };
}
