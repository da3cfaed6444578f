// Texts in the language of the person, with plural forms; numbers and times as people write them.

import { en } from "./en.js";
import { ru } from "./ru.js";

/** Every language, the default first. */
export const LANGUAGES = Object.freeze({ en, ru });

let language = "en";
let plural = new Intl.PluralRules(language);

/** Chooses a language. */
export function setLanguage(wanted) {
    language = Object.hasOwn(LANGUAGES, wanted) ? wanted : "en";
    plural = new Intl.PluralRules(language);
}

/** The language that is chosen. */
export function currentLanguage() {
    return language;
}

/** How numbers and times are written: as the person's system does, if it speaks the language that is chosen. */
export function locale() {
    const own = globalThis.navigator?.language ?? language;
    return own.startsWith(language) ? own : language;
}

/** The first of these languages that there are texts in. */
export function bestLanguage(wanted) {
    return wanted.map((tag) => tag.split("-")[0]).find((tag) => Object.hasOwn(LANGUAGES, tag)) ?? "en";
}

/** Plural forms of a language, in the order in which a list holds them. */
export const FORMS = Object.freeze({ en: ["one", "other"], ru: ["one", "few", "many"] });

/** A text; `values` fill its `{places}`. */
export function t(key, values = {}) {
    let text = LANGUAGES[language][key];
    if (Array.isArray(text)) text = text[Math.max(0, FORMS[language].indexOf(plural.select(values.n)))];
    if (text === undefined) return key;
    return text.replace(/\{(\w+)\}/g, (place, name) => (name in values ? String(values[name]) : place));
}

/** A text if there is one of this key, such as for a word of a later server; else the word itself. */
export function known(prefix, word) {
    const key = `${prefix}.${word}`;
    return Object.hasOwn(LANGUAGES[language], key) ? t(key) : String(word ?? "").replaceAll("_", " ");
}

/** `0:07`, `12:34`, `1:02:03`; with `digits`, decimals of the second. */
export function clock(seconds, digits = 0) {
    const factor = 10 ** digits;
    const whole = Math.floor(Math.max(0, seconds) * factor + 1e-6);
    const s = Math.floor(whole / factor);
    const rest = digits > 0 ? `.${String(whole % factor).padStart(digits, "0")}` : "";
    const two = (n) => String(n).padStart(2, "0");
    const [hours, minutes] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
    return `${hours > 0 ? `${hours}:${two(minutes)}` : minutes}:${two(s % 60)}${rest}`;
}

/** Formats that were made already; to make one takes longer than to use it a hundred times. */
const formats = new Map();

function written(value, options) {
    const key = `${locale()} ${JSON.stringify(options)}`;
    if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(locale(), options));
    return formats.get(key).format(value);
}

/** A number with `n` decimals in the notation of the language. */
export function number(value, digits = 0) {
    return written(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** `93 %` of 0.93. */
export function percent(share) {
    return written(Math.max(0, share), { style: "percent" });
}
