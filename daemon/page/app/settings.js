// What a person chose on this device: language, colours, token.

import { bestLanguage, setLanguage } from "./texts/index.js";

const THEMES = ["auto", "light", "dark"];

// Storage may be forbidden; then choices last as long as the page.
function read(storage, key) {
    try {
        return globalThis[storage].getItem(`diarized.${key}`) ?? undefined;
    } catch {
        return undefined;
    }
}

function write(storage, key, value) {
    try {
        if (value === undefined) globalThis[storage].removeItem(`diarized.${key}`);
        else globalThis[storage].setItem(`diarized.${key}`, value);
    } catch {
        // Nothing is lost but the memory of a choice.
    }
}

export class Settings {
    constructor() {
        this.language = read("localStorage", "language") ?? bestLanguage(navigator.languages ?? []);
        this.theme = read("localStorage", "theme") ?? "auto";
        /** Whether single keys act; speech input and unsteady hands may want them off. */
        this.hasKeys = read("localStorage", "keys") !== "off";
        this.token = read("sessionStorage", "token") ?? read("localStorage", "token");
        /** Id of the microphone that was chosen; the browser's own choice without one. */
        this.microphone = read("localStorage", "microphone");
        /** Whether the server may keep the audio of what this device sends. */
        this.keepsAudio = read("localStorage", "keepsAudio") !== "off";
        this.dark = matchMedia("(prefers-color-scheme: dark)");
        this.still = matchMedia("(prefers-reduced-motion: reduce)");
        this.apply();
    }

    setLanguage(language) {
        this.language = language;
        write("localStorage", "language", language);
        this.apply();
    }

    setTheme(theme) {
        this.theme = THEMES.includes(theme) ? theme : "auto";
        write("localStorage", "theme", this.theme);
        this.apply();
    }

    setKeys(hasKeys) {
        this.hasKeys = hasKeys;
        write("localStorage", "keys", hasKeys ? undefined : "off");
    }

    setMicrophone(id) {
        this.microphone = id || undefined;
        write("localStorage", "microphone", this.microphone);
    }

    setKeepsAudio(keepsAudio) {
        this.keepsAudio = keepsAudio;
        write("localStorage", "keepsAudio", keepsAudio ? undefined : "off");
    }

    /** Keeps a token for this tab, or for this device; `undefined` forgets it. */
    setToken(token, isRemembered = false) {
        this.token = token;
        write("sessionStorage", "token", isRemembered ? undefined : token);
        write("localStorage", "token", isRemembered ? token : undefined);
    }

    /** `light` or `dark`. */
    get shade() {
        if (this.theme === "auto") return this.dark.matches ? "dark" : "light";
        return this.theme;
    }

    /** Whether the person asked for less movement. */
    get isStill() {
        return this.still.matches;
    }

    apply() {
        setLanguage(this.language);
        document.documentElement.lang = this.language;
        document.documentElement.dataset.theme = this.shade;
    }
}
