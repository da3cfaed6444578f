// Makes and updates elements. Text is always text: nothing here reads HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. Properties: `class`, `dataset`, `style` (set through the object model), `on` (listeners), anything else
 * is an attribute; `undefined`, `null` and `false` leave it out. Children are nodes or text; empty ones are left out.
 */
export function h(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    assign(element, properties);
    element.append(...children.flat().filter((c) => c !== undefined && c !== null && c !== false));
    return element;
}

function assign(element, properties) {
    for (const [key, value] of Object.entries(properties)) {
        if (key === "on") {
            for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
        } else if (key === "dataset") {
            Object.assign(element.dataset, value);
        } else if (key === "style") {
            for (const [name, text] of Object.entries(value)) element.style.setProperty(name, text);
        } else if (key === "class") {
            element.className = value;
        } else {
            attribute(element, key, value);
        }
    }
}

/** Sets, or with `undefined`, `null` or `false` removes, an attribute, if that changes it. */
export function attribute(element, name, value) {
    if (value === undefined || value === null || value === false) {
        element.removeAttribute(name);
    } else {
        const wanted = value === true ? "" : String(value);
        if (element.getAttribute(name) !== wanted) element.setAttribute(name, wanted);
    }
}

/** Sets the text of an element, if that changes it. */
export function text(element, value) {
    if (element.textContent !== value) element.textContent = value;
}

/** An element of a drawing. */
export function drawing(tag, attributes, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
}

/** A line drawing of 24 by 24. */
export function icon(name) {
    const svg = drawing("svg", {
        viewBox: "0 0 24 24", width: "20", height: "20", fill: "none", stroke: "currentColor", "stroke-width": "1.75",
        "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true", class: "icon",
    });
    svg.append(...ICONS[name].map((d) => drawing("path", { d })));
    return svg;
}

/** A button of a class of the style sheet that does `act`. */
export function button(className, act, ...children) {
    return h("button", { type: "button", class: className, on: { click: act } }, ...children);
}

/** Gives a button a picture and a word, with the name of what it acts on for screen readers. */
export function label(button, picture, word, name) {
    if (button.dataset.word !== word) {
        button.dataset.word = word;
        button.replaceChildren(icon(picture), word);
    }
    if (name !== undefined) attribute(button, "aria-label", `${word}: ${name}`);
}

const ICONS = {
    now: ["M4 12h2", "M8.5 8v8", "M12 4v16", "M15.5 8v8", "M18 12h2"],
    timeline: ["M3 6h9", "M15 6h6", "M3 12h4", "M10 12h8", "M3 18h11", "M17 18h4"],
    turns: ["M4 6h2", "M9 6h11", "M4 12h2", "M9 12h11", "M4 18h2", "M9 18h7"],
    speakers: ["M9 11a3.5 3.5 0 1 0 0-7a3.5 3.5 0 0 0 0 7z", "M2.5 20c.5-3.6 3-5.5 6.5-5.5s6 1.9 6.5 5.5",
        "M16 4.3a3.5 3.5 0 0 1 0 6.4", "M18 14.8c2 .8 3.2 2.5 3.5 5.2"],
    sessions: ["M4 5h16", "M4 12h16", "M4 19h10"],
    listen: ["M12 15a3 3 0 0 0 3-3V6a3 3 0 0 0-6 0v6a3 3 0 0 0 3 3z", "M6 11.5a6 6 0 0 0 12 0", "M12 17.5V21"],
    health: ["M3 12h4l2.5-7 4.5 14 2.5-7H21"],
    full: ["M4 9V4h5", "M20 9V4h-5", "M4 15v5h5", "M20 15v5h-5"],
    window: ["M9 4v5H4", "M15 4v5h5", "M9 20v-5H4", "M15 20v-5h5"],
    close: ["M6 6l12 12", "M18 6L6 18"],
    plus: ["M12 5v14", "M5 12h14"],
    minus: ["M5 12h14"],
    fit: ["M3 5v14", "M21 5v14", "M7 12h10", "M10 9l-3 3 3 3", "M14 9l3 3-3 3"],
    live: ["M5 5l8 7-8 7z", "M18 5v14"],
    edit: ["M4 20l1-4L16.5 4.5l3 3L8 19z"],
    merge: ["M5 4c0 8 14 4 14 13", "M5 20c0-5 4-6 7-7", "M16 14l3 3 3-3"],
    voice: ["M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6z", "M9 12l2 2 4-4"],
    trash: ["M5 7h14", "M10 4h4", "M7 7l1 13h8l1-13"],
    file: ["M7 3h7l4 4v14H7z", "M14 3v4h4"],
    stop: ["M7 7h10v10H7z"],
    note: ["M5 4h14v11l-5 5H5z", "M14 20v-5h5", "M8 8h8", "M8 12h5"],
    play: ["M7 5l11 7-11 7z"],
    pause: ["M8 5v14", "M16 5v14"],
    undo: ["M9 7L4 12l5 5", "M4 12h10a6 6 0 0 1 6 6v1"],
    redo: ["M15 7l5 5-5 5", "M20 12H10a6 6 0 0 0-6 6v1"],
    split: ["M4 12h7", "M11 12c4 0 3-6 9-6", "M11 12c4 0 3 6 9 6"],
    keys: ["M3 6h18v12H3z", "M7 10h.01", "M11 10h.01", "M15 10h2", "M7 14h10"],
    key: ["M8 15a4 4 0 1 1 0-8a4 4 0 0 1 0 8z", "M12 11h9", "M18 11v4"],
};

/** Keeps the children of `parent` those of `items`, in order: made once for each key, then updated, at last retired. */
export function keyed(parent, items, keyOf, create, update, retire = () => {}) {
    parent.heldByKey ??= new Map();
    const held = parent.heldByKey;
    const wanted = new Set();
    let before = parent.firstChild;
    for (const item of items) {
        const key = keyOf(item);
        wanted.add(key);
        let child = held.get(key);
        if (!child) {
            child = create(item);
            held.set(key, child);
        }
        if (child === before) before = before.nextSibling;
        else parent.insertBefore(child, before);
        // In its place first: what is drawn by size has none before.
        update(child, item);
    }
    for (const [key, child] of held) {
        if (!wanted.has(key)) {
            child.remove();
            held.delete(key);
            retire(child);
        }
    }
}

/** Removes the children that `keyed` keeps, so that they are made again. */
export function clearKeyed(parent) {
    parent.replaceChildren();
    parent.heldByKey = undefined;
}

/**
 * Puts a field in the place of a button, with the focus, until the returned function is called; whether that was its
 * first call.
 */
export function inPlaceOf(button, field) {
    let isDone = false;
    button.replaceWith(field);
    field.focus();
    return () => {
        // What is taken out of the page loses the focus, which asks for this once more.
        if (isDone) return false;
        isDone = true;
        field.replaceWith(button);
        button.focus();
        return true;
    };
}

/**
 * Puts a text field in the place of a button until it is left: Enter and leaving it save, Escape does not.
 *
 * @param {HTMLElement} button
 * @param {{label: string, value: string, maxlength: string, class: string}} field
 * @param {(value: string) => void} save gets a changed text, without white space around it
 */
export function fieldInPlace(button, { label, value, ...attributes }, save) {
    const field = h("input", { type: "text", autocomplete: "off", "aria-label": label, ...attributes });
    field.value = value;
    const leave = inPlaceOf(button, field);
    const done = (isSaved) => {
        const words = field.value.trim();
        if (leave() && isSaved && words !== value) save(words);
    };
    field.addEventListener("blur", () => done(true));
    field.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== "Escape") return;
        // The button that gets the focus back must not be pressed by the same key.
        event.preventDefault();
        done(event.key === "Enter");
    });
    field.select();
}
