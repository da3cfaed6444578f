// What the package exports.

export { Address, isToken } from "./address.js";
export { Api, ApiError } from "./api.js";
export { Backoff } from "./backoff.js";
export { LiveClock } from "./clock.js";
export {
    CLIENT_SHAPES, CLOSE, CONNECTION_TYPES, EVENT_TYPES, ProtocolError, SERVER_SHAPES, parse,
} from "./protocol.js";
export { PublishError, Publisher } from "./publisher.js";
export { OutOfStep, SessionModel, numberOf } from "./session.js";
export { HOLD_S, MAX_PAUSE_S, ordered, speakingAt, talk, turns } from "./statistics.js";
export { Subscription } from "./subscription.js";
export { Words, joined } from "./words.js";
