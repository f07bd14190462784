/**
 * The limits of R17, checked before anything is allocated.
 *
 * A count is believed only if the bytes that are left could hold that many elements, so a frame of n bytes never makes
 * us allocate more than a small multiple of n.
 */

/** Elements of one array. */
export const ARRAY_ELEMENTS_MAX = 1_000_000;

/** Tagged fields of one struct. */
export const TAGGED_FIELDS_MAX = 10_000;

/** `socket.request.max.bytes`: the largest frame (the four length bytes not counted). One byte more closes the connection. */
export const FRAME_BYTES_MAX = 104_857_600;
