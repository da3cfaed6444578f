// Addresses of the server, and how a token travels.

/** Whether a text can be a token: what is none cannot travel in a header or as a subprotocol either. */
export function isToken(text) {
    return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text);
}

/** Where a server is, and the secret that it wants, if any. */
export class Address {
    /**
     * @param {string | URL} base address that `v1/…` is below, such as `http://127.0.0.1:7007/`
     * @param {string} [token]
     */
    constructor(base, token) {
        this.base = new URL(base);
        if (!this.base.pathname.endsWith("/")) this.base.pathname += "/";
        this.base.search = "";
        this.base.hash = "";
        this.token = token || undefined;
    }

    /** Address of plain HTTP. */
    http(path) {
        const url = new URL(path, this.base);
        url.protocol = this.base.protocol.replace(/^ws/, "http");
        return url.href;
    }

    /** Address of a WebSocket. Parameters that are undefined are left out. */
    socket(path, parameters) {
        const url = new URL(path, this.base);
        url.protocol = this.base.protocol.replace(/^http/, "ws");
        for (const [key, value] of Object.entries(parameters)) {
            if (value !== undefined) url.searchParams.set(key, String(value));
        }
        return url.href;
    }

    /** Headers of plain HTTP. */
    headers() {
        return this.token ? { Authorization: `Bearer ${this.token}` } : {};
    }

    /** Subprotocols of a WebSocket, for browsers let nothing else carry a token; the server takes the first. */
    protocols() {
        return this.token ? ["diarized.v1", `bearer.${this.token}`] : [];
    }
}
