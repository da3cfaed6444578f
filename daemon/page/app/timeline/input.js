// Pointer, wheel and keys of the timeline, as movements of its camera.

const CLICK_PX = 4;
const WHEEL_PER_ZOOM = 400;

/**
 * Joins the pointer, the wheel and the keys of `canvas` to `acts`:
 *
 * - `camera()`: the camera to move, if there is one;
 * - `isScrolled()`: whether there are more lanes than are seen;
 * - `moved()`: after a movement of the camera;
 * - `hovered(point)`, `clicked(point)`: a point of the canvas, `undefined` where none is hovered;
 * - `walked(by)`, `escaped()`, `entered()`, `played()`: to another segment, away from it, into it, play it.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {object} acts
 */
export function handle(canvas, acts) {
    handlePointers(canvas, acts);
    canvas.addEventListener("wheel", (event) => wheel(event, canvas, acts), { passive: false });
    canvas.addEventListener("keydown", (event) => press(event, acts));
}

function pointOf(event, canvas) {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
}

/** One pointer pans, two zoom, and one that hardly moves clicks. */
function handlePointers(canvas, acts) {
    const pointers = new Map();
    let travelled = 0;
    let spread;

    canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        pointers.set(event.pointerId, pointOf(event, canvas));
        if (pointers.size === 1) travelled = 0;
        spread = undefined;
    });

    canvas.addEventListener("pointermove", (event) => {
        const before = pointers.get(event.pointerId);
        const now = pointOf(event, canvas);
        const camera = acts.camera();
        if (!before) {
            acts.hovered(event.pointerType === "mouse" ? now : undefined);
            return;
        }
        pointers.set(event.pointerId, now);
        travelled += Math.hypot(now.x - before.x, now.y - before.y);
        if (!camera || travelled < CLICK_PX) return;
        if (pointers.size === 2) {
            const [a, b] = [...pointers.values()];
            const wide = Math.max(20, Math.abs(a.x - b.x));
            if (spread !== undefined) camera.zoom(wide / spread, (a.x + b.x) / 2);
            spread = wide;
        } else {
            camera.pan(before.x - now.x);
        }
        acts.hovered(undefined);
        acts.moved();
    });

    const leave = (event) => {
        const point = pointers.get(event.pointerId);
        pointers.delete(event.pointerId);
        spread = undefined;
        if (event.type === "pointerup" && point && travelled < CLICK_PX) acts.clicked(point);
    };
    canvas.addEventListener("pointerup", leave);
    canvas.addEventListener("pointercancel", leave);
    canvas.addEventListener("pointerleave", () => acts.hovered(undefined));
}

/** Up and down zooms where the lanes do not scroll, to the sides pans. */
function wheel(event, canvas, acts) {
    const camera = acts.camera();
    if (!camera) return;
    const isSideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const isPinch = event.ctrlKey || event.metaKey;
    if (isSideways) {
        camera.pan(event.deltaX || event.deltaY);
    } else {
        if (!isPinch && acts.isScrolled()) return;
        const perZoom = isPinch ? WHEEL_PER_ZOOM / 4 : WHEEL_PER_ZOOM;
        camera.zoom(Math.exp(-event.deltaY / perZoom), pointOf(event, canvas).x);
    }
    event.preventDefault();
    acts.moved();
}

function press(event, acts) {
    const camera = acts.camera();
    if (!camera || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = {
        ArrowLeft: () => (event.shiftKey ? acts.walked(-1) : camera.pan(-camera.width / 8)),
        ArrowRight: () => (event.shiftKey ? acts.walked(1) : camera.pan(camera.width / 8)),
        PageUp: () => camera.pan(-camera.width * 0.9),
        PageDown: () => camera.pan(camera.width * 0.9),
        "+": () => camera.zoom(1.4),
        "=": () => camera.zoom(1.4),
        "-": () => camera.zoom(1 / 1.4),
        0: () => camera.fit(),
        Home: () => camera.pan(-Infinity),
        End: () => camera.toLive(),
        Escape: acts.escaped,
        Enter: acts.entered,
        " ": acts.played,
    };
    const move = Object.hasOwn(moves, event.key) ? moves[event.key] : undefined;
    if (!move) return;
    event.preventDefault();
    move();
    acts.moved();
}
