// A speaker's colour and pattern as a small picture, and as fills of a canvas.

import { TILE, drawTile, lookOf } from "./palette.js";

const SCALE = 2;

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
            const over = this.shade === "dark" ? "rgb(0 0 0 / 45%)" : "rgb(255 255 255 / 62%)";
            pen.fillStyle = over;
            pen.strokeStyle = over;
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
 * speaker, if that or the size changed. A `size` in pixels that the style sheet is known to give is not measured: in a long
 * list each measure costs a layout.
 */
export function swatch(className = "", size = undefined) {
    const canvas = document.createElement("canvas");
    const element = document.createElement("span");
    element.className = `swatch ${className}`;
    element.setAttribute("aria-hidden", "true");
    element.append(canvas);
    let painted;
    element.paint = (shade, label) => {
        const [width, height] = size ?? [element.clientWidth, element.clientHeight];
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
