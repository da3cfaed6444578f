// This device as a microphone: start and stop, or drop a file.

import { microphones } from "../audio/capture.js";
import { naming } from "../audio/listening.js";
import { attribute, button, h, icon, keyed, label, text } from "../dom.js";
import { clock, number, t } from "../texts/index.js";

const SPEEDS = ["1", "4", "Infinity"];
const LOUDEST_SILENCE_DBFS = -60;

export function listenView(app) {
    const title = h("h1", {});
    const intro = h("p", { class: "lead" });
    const about = sessionFields(app);
    const start = { called: about.called, onStarted: follow };
    const microphone = microphoneCard(app, start);
    const file = fileCard(app, start);
    const element = h("section", { class: "view listen" }, h("div", { class: "view-head" }, title), intro,
        ...about.elements, h("div", { class: "pair" }, microphone.element, file.element));

    function follow(session) {
        app.go("listen", session);
        void app.store.poll();
    }

    function update() {
        about.update();
        microphone.update();
        file.update();
    }

    function words() {
        text(title, t("listen.title"));
        text(intro, t("listen.intro", { host: app.store.address.base.host }));
        for (const part of [about, microphone, file]) part.words();
    }

    words();
    return { element, update, words, show: microphone.look };
}

/** What a session is called, how many speakers are expected, and whether its audio may be kept. */
function sessionFields({ listening, store, settings }) {
    const name = h("input", {
        id: "listen-name", type: "text", maxlength: "200", autocomplete: "off", spellcheck: "false", "aria-describedby": "listen-hint",
    });
    const nameLabel = h("label", { for: "listen-name" });
    const nameHint = h("p", { class: "hint", id: "listen-hint" });
    const expected = h("input", {
        id: "listen-expected", type: "number", min: "1", max: "1000", inputmode: "numeric", "aria-describedby": "listen-expected-hint",
    });
    const expectedLabel = h("label", { for: "listen-expected" });
    const expectedHint = h("p", { class: "hint", id: "listen-expected-hint" });
    const keep = h("input", { type: "checkbox", on: { change: () => settings.setKeepsAudio(keep.checked) } });
    const keepText = h("span", {});
    const keepLine = h("label", { class: "check", hidden: true }, keep, keepText);
    keep.checked = settings.keepsAudio;

    return {
        elements: [
            h("div", { class: "field" }, nameLabel, name, nameHint),
            h("div", { class: "field" }, expectedLabel, expected, expectedHint), keepLine,
        ],
        /** What is known of a session before it begins. */
        called() {
            const n = expected.valueAsNumber;
            return {
                ...naming(name.value),
                expectedSpeakers: Number.isInteger(n) && n >= 1 && n <= 1000 ? n : undefined,
                keepAudio: settings.keepsAudio ? undefined : false,
            };
        },
        update() {
            attribute(keepLine, "hidden", !store.server.keeps_audio);
            attribute(expected, "disabled", listening.microphone.kind !== "off");
        },
        words() {
            text(nameLabel, t("listen.name"));
            text(nameHint, t("listen.nameHint"));
            text(expectedLabel, t("listen.expected"));
            text(expectedHint, t("listen.expectedHint"));
            text(keepText, t("listen.keep"));
        },
    };
}

/** `called()` is what the session is called; `onStarted` gets the id of one that has begun. */
function microphoneCard(app, { called, onStarted }) {
    const { listening } = app;
    const title = h("h2", {});
    const note = h("p", { class: "quiet" });
    const device = deviceChoice(app);
    const toggle = button("button primary big", () => void turn());
    const goOn = button("button", () => void listening.goOn(device.value));
    const level = h("span", { class: "meter-fill" });
    const levelText = h("span", { class: "digits" });
    const state = h("p", { class: "status", role: "status" });
    const fault = h("p", { class: "fault", role: "alert", hidden: true });
    const element = h("div", { class: "card listen-card" }, title, note, device.element,
        h("div", { class: "acts" }, toggle, goOn),
        h("div", { class: "listen-level" }, h("span", { class: "meter", "aria-hidden": "true" }, level), levelText),
        state, fault);

    async function turn() {
        if (listening.microphone.kind !== "off") {
            await listening.stop();
            return;
        }
        const started = await listening.start(called(), device.value);
        void device.look();
        if (started) onStarted(started);
    }

    function update() {
        const { microphone } = listening;
        const isOff = microphone.kind === "off";
        const isLost = microphone.kind === "lost";
        const word = isOff ? "listen.start" : microphone.kind === "starting" ? "listen.starting" : "listen.stop";
        label(toggle, isOff ? "listen" : "stop", t(word));
        attribute(toggle, "data-on", isOff ? undefined : "");
        attribute(goOn, "hidden", !isLost);
        device.update(isOff || isLost);
        const dbfs = listening.level;
        level.style.setProperty("--share", String(dbfs === undefined ? 0 : Math.max(0, 1 - dbfs / LOUDEST_SILENCE_DBFS)));
        text(levelText, dbfs === undefined ? "" : t("unit.dbfs", { n: number(Math.max(-99, dbfs)) }));
        text(state, stateOf(microphone));
        attribute(fault, "hidden", !microphone.fault);
        if (microphone.fault) text(fault, t(microphone.fault.key, { reason: microphone.fault.reason }));
    }

    function words() {
        text(title, t("listen.microphone"));
        text(note, t("listen.microphoneText"));
        text(goOn, t("listen.goOn"));
        device.words();
    }

    return { element, update, words, look: () => void device.look() };
}

function stateOf({ kind, publisher, note }) {
    if (kind === "again") return t("state.waiting");
    if (kind === "lost") return t("listen.waits");
    if (kind !== "on") return "";
    const sentence = t("listen.on", { time: clock(publisher.sent_s), confirmed: clock(publisher.received_s) });
    return note ? `${t(note.key, { session: note.session })} ${sentence}` : sentence;
}

/** The choice of a microphone. */
function deviceChoice(app) {
    const { settings } = app;
    const select = h("select", { id: "listen-device", on: { change: () => settings.setMicrophone(select.value) } });
    const name = h("label", { for: "listen-device" });
    let found = [];

    async function look() {
        found = await microphones();
        app.redraw();
    }
    navigator.mediaDevices?.addEventListener("devicechange", () => void look());

    return {
        element: h("div", { class: "choice" }, name, select),
        /** Looks which microphones there are. */
        look,
        get value() {
            return select.value;
        },
        update(isOn) {
            attribute(select, "disabled", !isOn);
            const all = [{ id: "", name: t("listen.anyDevice") }, ...found.map((one, idx) => (
                { id: one.id, name: one.name || t("listen.deviceNumber", { n: idx + 1 }) }
            ))];
            const { microphone } = settings;
            if (microphone && !all.some((one) => one.id === microphone)) all.push({ id: microphone, name: t("listen.deviceAway") });
            keyed(select, all, (one) => one.id, (one) => h("option", { value: one.id }), (option, one) => text(option, one.name));
            if (document.activeElement !== select) select.value = microphone ?? "";
        },
        words: () => text(name, t("listen.device")),
    };
}

/** `called()` is what the session is called; `onStarted` gets the id of one that has begun. */
function fileCard(app, { called, onStarted }) {
    const { listening } = app;
    const title = h("h2", {});
    const note = h("p", { class: "quiet" });
    const input = h("input", { type: "file", id: "listen-file", class: "unseen", accept: "audio/*,video/*" });
    const inputLabel = h("label", { class: "button primary big", for: "listen-file" });
    const speed = h("select", { id: "listen-speed" });
    const speedLabel = h("label", { for: "listen-speed" });
    const stop = button("button", () => listening.stopFile());
    const progress = fileProgress();
    const element = h("div", { class: "card listen-card drop" }, title, note,
        h("div", { class: "choice" }, speedLabel, speed),
        h("div", { class: "acts" }, input, inputLabel, stop), ...progress.elements);

    function send(file) {
        if (isBusy(listening.file)) app.say(t("listen.oneFile"));
        else void listening.send(file, { called: called(), speed: Number(speed.value), onStarted });
    }

    input.addEventListener("change", () => {
        if (input.files[0]) send(input.files[0]);
        input.value = "";
    });
    takeDrops(element, send);

    function update() {
        const { file } = listening;
        attribute(input, "disabled", isBusy(file));
        attribute(inputLabel, "hidden", isBusy(file));
        attribute(stop, "hidden", !isBusy(file) || file.kind === "finishing");
        attribute(speed, "disabled", isBusy(file));
        progress.update(file);
    }

    function words() {
        text(title, t("listen.file"));
        text(note, t("listen.fileText"));
        inputLabel.replaceChildren(icon("file"), t("listen.choose"));
        text(speedLabel, t("listen.speed"));
        text(stop, t("listen.stopFile"));
        progress.words();
        const chosen = speed.value || "1";
        speed.replaceChildren(...SPEEDS.map((one) => h("option", { value: one, selected: one === chosen }, speedName(one))));
    }

    return { element, update, words };
}

const isBusy = (file) => !["none", "done"].includes(file.kind);

function speedName(speed) {
    if (speed === "1") return t("listen.speedReal");
    return speed === "Infinity" ? t("listen.speedMax") : t("listen.speedTimes", { n: speed });
}

/** How far a file is sent. */
function fileProgress() {
    const bar = h("progress", { max: "1", value: "0" });
    const state = h("p", { class: "status", role: "status" });
    const fault = h("p", { class: "fault", role: "alert", hidden: true });
    const sentences = {
        decoding: (file) => t("listen.decoding", { file: file.name }),
        playing: (file) => t("listen.playing", { file: file.name, time: clock(file.sent_s), total: clock(file.total_s) }),
        finishing: (file) => t("listen.finishing", { file: file.name }),
        done: (file) => t("listen.done", { file: file.name, speakers: t("count.speakers", { n: file.speakers }) }),
    };
    return {
        elements: [bar, state, fault],
        update(file) {
            attribute(bar, "hidden", file.kind !== "playing");
            if (file.kind === "playing") bar.value = file.sent_s / file.total_s;
            text(state, sentences[file.kind]?.(file) ?? "");
            attribute(fault, "hidden", !file.fault);
            if (file.fault) text(fault, t(file.fault.key, file.fault.values));
        },
        words: () => attribute(bar, "aria-label", t("listen.file")),
    };
}

/** Takes a file that is dropped anywhere, in every view; `zone` shows where files are expected. */
function takeDrops(zone, take) {
    zone.addEventListener("dragover", (event) => {
        event.preventDefault();
        attribute(zone, "data-over", "");
    });
    zone.addEventListener("dragleave", () => attribute(zone, "data-over", undefined));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
        event.preventDefault();
        attribute(zone, "data-over", undefined);
        const [file] = event.dataTransfer.files;
        if (file) take(file);
    });
}
