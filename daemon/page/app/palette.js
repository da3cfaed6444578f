// How speakers look: eight colours that colour-blind people can tell apart, crossed with eight patterns, and a label.

/** Fills on light and on dark ground; `tests/page/unit/palette.test.js` holds what is promised of them. */
export const COLOURS = Object.freeze([
    { light: "#1a4898", dark: "#517afd" },
    { light: "#a8480a", dark: "#fba508" },
    { light: "#3f8a5c", dark: "#61f3df" },
    { light: "#e14ba7", dark: "#c76a8c" },
    { light: "#a48119", dark: "#f3d98e" },
    { light: "#986efa", dark: "#968fd6" },
    { light: "#8a2a44", dark: "#f1482d" },
    { light: "#0c8faa", dark: "#6fc6ef" },
].map(Object.freeze));

/** Patterns over the fill. */
export const PATTERNS = Object.freeze([
    "solid", "diagonal", "dots", "vertical", "backslash", "grid", "horizontal", "rings",
]);

/** Grounds that the fills lie on. */
export const GROUNDS = Object.freeze({ light: "#f4f2ee", dark: "#1d2129" });

/** Look of the speaker with this label: colour and pattern by its number, so that it is the same on every page. */
export function lookOf(label) {
    const number = Number(/(\d+)$/.exec(label)?.[1] ?? 1);
    const idx = Math.max(0, number - 1);
    const n = COLOURS.length;
    return {
        colour: COLOURS[idx % n],
        pattern: PATTERNS[(idx + Math.floor(idx / n)) % n],
        key: `${idx % n}-${(idx + Math.floor(idx / n)) % n}`,
    };
}

/** Size of a pattern's tile, in CSS pixels. */
export const TILE = 8;

/** Draws one tile of a pattern; what it paints is laid over the fill. */
export function drawTile(context, pattern) {
    const line = (x0, y0, x1, y1) => {
        context.beginPath();
        context.moveTo(x0, y0);
        context.lineTo(x1, y1);
        context.stroke();
    };
    const t = TILE;
    context.lineWidth = 1.5;
    switch (pattern) {
    case "diagonal":
        line(-1, t + 1, t + 1, -1);
        line(-1, 1, 1, -1);
        line(t - 1, t + 1, t + 1, t - 1);
        break;
    case "backslash":
        line(-1, -1, t + 1, t + 1);
        line(-1, t - 1, 1, t + 1);
        line(t - 1, -1, t + 1, 1);
        break;
    case "vertical":
        line(t / 2, 0, t / 2, t);
        break;
    case "horizontal":
        line(0, t / 2, t, t / 2);
        break;
    case "grid":
        line(t / 2, 0, t / 2, t);
        line(0, t / 2, t, t / 2);
        break;
    case "dots":
        for (const [x, y] of [[2, 2], [6, 6]]) {
            context.beginPath();
            context.arc(x, y, 1.3, 0, 2 * Math.PI);
            context.fill();
        }
        break;
    case "rings":
        context.beginPath();
        context.arc(t / 2, t / 2, 2.2, 0, 2 * Math.PI);
        context.stroke();
        break;
    default:
    }
}
