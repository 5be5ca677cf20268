"""Deferred shading in one Warp kernel: skin, eyes, hair, cloth, glasses and background; and the part masks.

Colours are linear until the last step.
"""

import warp as wp

from lib.faces.light import ambient, glint, lit, wrap
from lib.faces.look import Look
from lib.faces.raster import EYE, edge, noise
from lib.faces.skin import brow_cover, shade_eye, shade_skin

MASK_NAMES = ("background", "skin", "brow_left", "brow_right", "eye_left", "eye_right", "nose", "upper_lip", "mouth",
              "lower_lip", "hair", "neck_cloth", "glasses")
wp.set_module_options({"enable_backward": False})  # no gradients: half the compile time

# the numbers of lib.faces.geometry.KINDS that the kernel tells apart
SKIN = wp.constant(0)
TORSO = wp.constant(1)
TEETH = wp.constant(3)
TONGUE = wp.constant(4)
LONG_HAIR = wp.constant(5)
MOUTH = wp.constant(6)
HAIR = wp.constant(7)
BEARD = wp.constant(8)
CLOTH = wp.constant(9)


@wp.func
def shade_hair(look: Look, colour: wp.vec3, at: wp.vec2, cover: float, free: float, n: wp.vec3, view: wp.vec3,
               sun: float,
               pictures: wp.array3d(dtype=float)) -> wp.vec3:
    strand = noise(pictures, 1, at[0], at[1]) * (1.0 - look.hair_curl)
    if look.hair_curl > 0.0:
        strand += look.hair_curl * noise(pictures, 3, at[0] * 1.3, at[1] * 7.0)
    lock = noise(pictures, 0, at[0] * 0.8 + 0.3, at[1] * 0.6)
    flow = look.head_up - n * wp.dot(look.head_up, n)
    along = wp.normalize(flow + wp.vec3(1.0e-4, 2.0e-4, 0.0))
    half = wp.normalize(look.key_direction + view)
    slope = wp.dot(along, half) + (strand - 0.5) * 0.35
    band = wp.max(1.0 - slope * slope, 0.0)
    band = band * band * band
    band = band * band * band
    shine = band * band * look.hair_gloss * wp.max(wp.dot(n, look.key_direction) + 0.3, 0.0)
    albedo = colour * ((1.0 - look.hair_streaks) + look.hair_streaks * (0.35 + 0.75 * strand + 0.55 * lock))
    deep = 0.55 + 0.45 * wp.smoothstep(-0.3, 0.6, cover)
    soft = wp.vec3(0.3, 0.3, 0.3)
    light = wp.cw_mul(look.key, wrap(n, look.key_direction, soft)) * (0.2 + 0.8 * sun) + wp.cw_mul(
        look.fill, wrap(n, look.fill_direction, soft)) + ambient(look, n) * (0.4 + 0.6 * free)
    return wp.cw_mul(albedo, light) * deep + wp.cw_mul(look.key,
                                                       colour * 0.6 + wp.vec3(0.05, 0.05, 0.05)) * (shine * sun)


@wp.func
def shade_cloth(look: Look, c: wp.vec3, n: wp.vec3, sun: float, pictures: wp.array3d(dtype=float)) -> wp.vec3:
    weave = noise(pictures, 2, c[0] * 1.3 + c[2], c[1] * 1.3)
    stripe = wp.smoothstep(-0.1, 0.1, wp.sin(c[1] * 18.0)) * look.cloth_stripes
    albedo = (look.cloth * (1.0 - stripe) + look.cloth_second * stripe) * (0.8 + 0.4 * weave)
    d = wp.max(wp.dot(n, look.key_direction), 0.0) * (0.1 + 0.9 * sun)
    f = wp.max(wp.dot(n, look.fill_direction), 0.0)
    return wp.cw_mul(albedo, look.key * d + look.fill * f + ambient(look, n) * 0.9)


@wp.func
def shade_background(look: Look, u: float, v: float, pictures: wp.array3d(dtype=float)) -> wp.vec3:
    """u, v in [0,1] from the upper left corner."""
    out = look.back_top * (1.0 - v) + look.back_low * v
    du = (u - look.blob_a[0]) / look.blob_a[2]
    dv = (v - look.blob_a[1]) / look.blob_a[3]
    w = wp.exp(-(du * du + dv * dv))
    out = out * (1.0 - w) + look.blob_a_colour * w
    du = (u - look.blob_b[0]) / look.blob_b[2]
    dv = (v - look.blob_b[1]) / look.blob_b[3]
    w = wp.smoothstep(1.15, 0.85, du * du + dv * dv)
    out = out * (1.0 - w) + look.blob_b_colour * w
    texture = noise(pictures, 0, u * look.grain_scale + look.grain_u, v * look.grain_scale + look.grain_v) - 0.5
    return out * wp.max(1.0 + look.grain * texture, 0.0)


@wp.func
def mask_of(kind: int, c: wp.vec3, marks: wp.vec4, brow: float) -> int:
    """Index into MASK_NAMES for a point of a part."""
    left = c[0] > 0.0
    if kind == SKIN:
        if marks[1] > 0.5:
            if c[1] > -0.735:
                return 7
            return 9
        if brow > 0.35:
            if left:
                return 2
            return 3
        x = wp.abs(c[0])
        if c[1] < 0.05 and c[1] > -0.54 and c[2] > 0.62 and x < 0.09 + 0.13 * wp.smoothstep(-0.1, -0.38, c[1]):
            return 6
        if c[1] + 0.42 * c[2] < -1.08:
            return 11
        return 1
    if kind == TORSO or kind == CLOTH:
        return 11
    if kind == EYE:
        if left:
            return 4
        return 5
    if kind == TEETH or kind == TONGUE or kind == MOUTH:
        return 8
    if kind == LONG_HAIR or kind == HAIR:
        return 10
    if kind == BEARD:
        return 1
    return 12


@wp.func
def shoulder(x: float) -> float:
    """Film's soft end of the bright range."""
    y = wp.max(x, 0.0)
    return wp.min(y * (1.0 + y * 0.12) / (1.0 + y * 0.55), 1.0)


@wp.func
def srgb(x: float) -> float:
    if x < 0.0031308:
        return 12.92 * x
    return 1.055 * wp.pow(x, 1.0 / 2.4) - 0.055


@wp.func
def tone(y: float, contrast: float) -> float:
    """A camera's S-shaped curve on display values 0..1: up to 1.5 times the contrast in the middle, none at the ends."""
    return y + contrast * (y * y * (3.0 - 2.0 * y) - y)


@wp.func
def kind_at(key: wp.int64, kind: wp.array(dtype=int)) -> int:
    """The kind of part a visibility key shows, -1 for the background."""
    if key == wp.int64(0):
        return -1
    return kind[wp.int32(key & wp.int64(4294967295))]


@wp.kernel
def shade(keys: wp.array3d(dtype=wp.int64), shadow: wp.array3d(dtype=wp.int64), looks: wp.array(dtype=Look),
          triangles: wp.array2d(dtype=int), kind: wp.array(dtype=int), screen: wp.array2d(dtype=wp.vec3),
          vertices: wp.array2d(dtype=wp.vec3), normal: wp.array2d(dtype=wp.vec3), canon: wp.array(dtype=wp.vec3),
          marks: wp.array(dtype=wp.vec4), strand: wp.array(dtype=wp.vec2), cover: wp.array2d(dtype=float),
          person: wp.array(dtype=int), pictures: wp.array3d(dtype=float), samples: int,
          image: wp.array4d(dtype=wp.uint8), mask: wp.array3d(dtype=wp.uint8)):
    """Colour and part of each pixel: the mean over points of a samples x samples grid; the part of the middle one."""
    b, row, column = wp.tid()
    look = looks[b]
    side = float(keys.shape[1])
    total = wp.vec3(0.0, 0.0, 0.0)
    label = int(0)
    first = kind_at(keys[b, row * samples, column * samples], kind)
    mixed = bool(False)
    for j in range(samples):
        for i in range(samples):
            if kind_at(keys[b, row * samples + j, column * samples + i], kind) != first:
                mixed = True
    count = float(0.0)
    for j in range(samples):
        for i in range(samples):
            if not mixed and (i + j) % 2 == 1:
                continue  # inside one part every second point is enough
            count += 1.0
            y = row * samples + j
            x = column * samples + i
            key = keys[b, y, x]
            px = float(x) + 0.5
            py = float(y) + 0.5
            colour = wp.vec3(0.0, 0.0, 0.0)
            part = int(0)
            if key == wp.int64(0):
                colour = shade_background(look, px / side, py / side, pictures)
            else:
                t = wp.int32(key & wp.int64(4294967295))
                k = kind[t]
                ia = triangles[t, 0]
                ib = triangles[t, 1]
                ic = triangles[t, 2]
                sa = screen[b, ia]
                sb = screen[b, ib]
                sc = screen[b, ic]
                inverse = 1.0 / edge(sa, sb, sc[0], sc[1])
                wa = edge(sb, sc, px, py) * inverse * sa[2]
                wb = edge(sc, sa, px, py) * inverse * sb[2]
                wc = (1.0 - edge(sb, sc, px, py) * inverse - edge(sc, sa, px, py) * inverse) * sc[2]
                scale = 1.0 / (wa + wb + wc)  # perspective-correct weights
                wa = wa * scale
                wb = wb * scale
                wc = wc * scale
                p = wa * vertices[b, ia] + wb * vertices[b, ib] + wc * vertices[b, ic]
                n = wp.normalize(wa * normal[b, ia] + wb * normal[b, ib] + wc * normal[b, ic])
                c = wa * canon[ia] + wb * canon[ib] + wc * canon[ic]
                m = wa * marks[ia] + wb * marks[ib] + wc * marks[ic]
                at = wa * strand[ia] + wb * strand[ib] + wc * strand[ic]
                view = -wp.normalize(p)
                if k == LONG_HAIR or k == CLOTH:  # seen from either side
                    if wp.dot(n, view) < 0.0:
                        n = -n
                sun = lit(look, p, n, shadow, b)
                brow = float(0.0)
                bald = k == HAIR and look.hair_is_skin > 0
                if k == SKIN or k == TORSO or bald:
                    brow = brow_cover(look, c, pictures)
                    colour = shade_skin(look, c, at[0], m, brow, n, view, sun, pictures)
                elif k == EYE:
                    colour = shade_eye(look, p, view, m[0], sun)
                elif k == TEETH:
                    deep = wp.smoothstep(0.2, 0.62, c[2])
                    light = look.key * (0.3 + 0.5 * wp.max(wp.dot(n, look.key_direction),
                                                           0.0)) + look.sky + look.fill * 0.4
                    colour = wp.cw_mul(wp.vec3(0.62, 0.57, 0.48), light) * (0.10 + 0.62 * deep)
                elif k == TONGUE or k == MOUTH:
                    deep = wp.smoothstep(0.25, 0.75, c[2])
                    light = look.key * wp.max(wp.dot(n, look.key_direction), 0.0) * 0.5 + look.sky + look.fill * 0.3
                    colour = wp.cw_mul(wp.vec3(0.26, 0.07, 0.06), light) * (0.04 + 0.5 * deep * deep)
                elif k == BEARD:
                    colour = shade_hair(look, look.beard, at, 0.5, m[0], n, view, sun, pictures)
                elif k == LONG_HAIR or k == HAIR:
                    q = person[b]
                    deep = wa * cover[q, ia] + wb * cover[q, ib] + wc * cover[q, ic]
                    colour = shade_hair(look, look.hair, at, deep, m[0], n, view, sun, pictures)
                elif k == CLOTH:
                    colour = shade_cloth(look, c, n, sun, pictures)
                else:
                    d = wp.max(wp.dot(n, look.key_direction), 0.0)
                    colour = wp.cw_mul(look.frame, look.key * d + look.fill * 0.4 + look.sky) + look.key * (
                        0.5 * glint(n, look.key_direction, view, 5))
                if bald:
                    k = SKIN
                part = mask_of(k, c, m, brow)
            if i == j and i == samples / 2:
                label = part
            e = look.exposure
            total += wp.vec3(shoulder(colour[0] * e), shoulder(colour[1] * e), shoulder(colour[2] * e))
    total = total / count
    shown = wp.vec3(tone(srgb(total[0]), look.contrast), tone(srgb(total[1]), look.contrast),
                    tone(srgb(total[2]), look.contrast))
    grey = 0.3 * shown[0] + 0.59 * shown[1] + 0.11 * shown[2]
    for channel in range(3):
        value = shown[channel] + 0.25 * look.contrast * (grey - shown[channel])  # the curve alone would raise colours too
        image[b, row, column, channel] = wp.uint8(wp.clamp(value * 255.0 + 0.5, 0.0, 255.0))
    mask[b, row, column] = wp.uint8(label)
