// A speaker's colour and pattern as a small picture, and as fills of a canvas.

import { drawing } from "./dom.js";
import { TILE, drawTile, lookOf } from "./palette.js";

const SCALE = 2;
/** Colour of a pattern over its fill. */
const OVER = { dark: "rgb(0 0 0 / 45%)", light: "rgb(255 255 255 / 62%)" };

/** Fills of a canvas by speaker, for one shade of the page. */
export class Fills {
    constructor(shade) {
        this.shade = shade;
        this.held = new Map();
    }

    /** `{colour, pattern}` of a speaker: a flat colour, and the same with its pattern for a 2D context. */
    of(context, label) {
        const look = lookOf(label);
        let fill = this.held.get(look.key);
        if (!fill) {
            const colour = look.colour[this.shade];
            const tile = document.createElement("canvas");
            tile.width = TILE * SCALE;
            tile.height = TILE * SCALE;
            const pen = tile.getContext("2d");
            pen.fillStyle = colour;
            pen.fillRect(0, 0, tile.width, tile.height);
            pen.scale(SCALE, SCALE);
            pen.fillStyle = OVER[this.shade];
            pen.strokeStyle = OVER[this.shade];
            drawTile(pen, look.pattern);
            const pattern = context.createPattern(tile, "repeat");
            pattern.setTransform(new DOMMatrix().scale(1 / SCALE));
            fill = { colour, pattern };
            this.held.set(look.key, fill);
        }
        return fill;
    }
}

/**
 * An element that shows how a speaker looks, as large as the style sheet makes it; `paint` draws it for a shade and a
 * speaker, if that or the size changed.
 */
export function swatch(className = "") {
    const canvas = document.createElement("canvas");
    const element = document.createElement("span");
    element.className = `swatch ${className}`;
    element.setAttribute("aria-hidden", "true");
    element.append(canvas);
    let painted;
    element.paint = (shade, label) => {
        const { clientWidth: width, clientHeight: height } = element;
        const key = `${shade} ${label} ${width} ${height}`;
        if (width === 0 || height === 0 || key === painted) return;
        painted = key;
        canvas.width = width * SCALE;
        canvas.height = height * SCALE;
        const pen = canvas.getContext("2d");
        pen.setTransform(SCALE, 0, 0, SCALE, 0, 0);
        pen.fillStyle = new Fills(shade).of(pen, label).pattern;
        pen.fillRect(0, 0, width, height);
    };
    return element;
}

/** Draws into an SVG element what it would draw on a canvas, as far as patterns need it. */
function penOf(parent, colour) {
    let d = "";
    const path = (more) => parent.append(drawing("path", { d, ...more }));
    return {
        lineWidth: 1,
        beginPath: () => { d = ""; },
        moveTo: (x, y) => { d += `M${x} ${y}`; },
        lineTo: (x, y) => { d += `L${x} ${y}`; },
        /** A whole circle. */
        arc: (x, y, r) => { d += `M${x + r} ${y}A${r} ${r} 0 1 1 ${x - r} ${y}A${r} ${r} 0 1 1 ${x + r} ${y}`; },
        stroke() { path({ fill: "none", stroke: colour, "stroke-width": this.lineWidth }); },
        fill: () => path({ fill: colour }),
    };
}

/** Patterns that drawings in the page share, by their ids. */
const patterns = new Map();

/** Id of the pattern of a speaker. */
function patternOf(shade, label) {
    const { colour, pattern, key } = lookOf(label);
    const id = `look-${shade}-${key}`;
    if (!patterns.has(id)) {
        const tile = drawing("pattern", { id, width: TILE, height: TILE, patternUnits: "userSpaceOnUse" },
            drawing("rect", { width: TILE, height: TILE, fill: colour[shade] }));
        drawTile(penOf(tile, OVER[shade]), pattern);
        patterns.set(id, drawing("svg", { width: 0, height: 0, "aria-hidden": "true", class: "patterns" }, tile));
        document.body.append(patterns.get(id));
    }
    return id;
}

/**
 * The same as `swatch` for long lists, of a fixed size in pixels: it is not measured, which costs a layout, and is part of the
 * picture of its list, where a browser keeps one for every canvas.
 */
export function listSwatch(width, height) {
    const rect = drawing("rect", { width, height, rx: 5 });
    const element = drawing("svg", { width, height, class: "list-swatch", "aria-hidden": "true" }, rect);
    let painted;
    element.paint = (shade, label) => {
        if (painted === `${shade} ${label}`) return;
        painted = `${shade} ${label}`;
        rect.setAttribute("fill", `url(#${patternOf(shade, label)})`);
    };
    return element;
}
