"""Deferred shading in one Warp kernel: light, skin, brows, eyes, lips, hair, cloth, glasses and background.

Colours are linear until the last step. Skin marks (brows, freckles, stubble, furrows) are written in the coordinates
of the mean head, so they stay where they belong under every shape and expression.
"""

import warp as wp

from lib.faces.raster import edge, noise

MASK_NAMES = ("background", "skin", "brow_left", "brow_right", "eye_left", "eye_right", "nose", "upper_lip", "mouth",
              "lower_lip", "hair", "neck_cloth", "glasses")
SHADOW_SIZE = 96
SHADOW_REACH = 2.2  # decimetres around the head that the shadow map covers


@wp.struct
class Look:
    """What one image looks like; colours are linear RGB, directions and points are in the camera's frame."""

    key_direction: wp.vec3
    key: wp.vec3
    fill_direction: wp.vec3
    fill: wp.vec3
    sky: wp.vec3
    ground: wp.vec3
    head_up: wp.vec3
    shadow_across: wp.vec3
    shadow_up: wp.vec3
    shadow_centre: wp.vec3
    focal: float
    exposure: float
    skin: wp.vec3
    flush: wp.vec3
    lip: wp.vec3
    blush: float
    freckles: float
    blotches: float
    gloss: float
    wrinkles: float
    noise_u: float
    noise_v: float
    stubble: float
    brow: wp.vec3
    brow_thick: float
    brow_length: float
    brow_height: float
    brow_arch: float
    brow_dense: float
    lashes: float
    iris: wp.vec3
    iris_size: float
    pupil: float
    eye_left: wp.vec3
    eye_right: wp.vec3
    gaze_left: wp.vec3
    gaze_right: wp.vec3
    hair: wp.vec3
    hair_gloss: float
    hair_is_skin: int
    hair_streaks: float
    hair_curl: float
    beard: wp.vec3
    cloth: wp.vec3
    cloth_second: wp.vec3
    cloth_stripes: float
    frame: wp.vec3
    furrow: float
    raised: float
    smile: float
    sneer: float
    squint: float
    back_top: wp.vec3
    back_low: wp.vec3
    blob_a: wp.vec4
    blob_a_colour: wp.vec3
    blob_b: wp.vec4
    blob_b_colour: wp.vec3
    grain: float
    grain_scale: float
    grain_u: float
    grain_v: float


@wp.func
def bump(x: float, centre: float, width: float) -> float:
    d = (x - centre) / width
    return wp.exp(-d * d)


@wp.func
def brow_cover(look: Look, c: wp.vec3, pictures: wp.array3d(dtype=float)) -> float:
    """Coverage of the brows in [0,1] at a place of the mean head: an arch along the ridge, hairs that lean outwards."""
    x = wp.abs(c[0])
    t = (x - 0.125) / look.brow_length
    if t < -0.12 or t > 1.1 or c[1] < 0.0 or c[1] > 0.45 or c[2] < 0.2:
        return 0.0
    s = (t - 0.64) / 0.64
    if s < 0.0:
        s = 0.75 * s  # the inner end falls less than the tail
    y = 0.165 + look.brow_height + look.brow_arch * (1.0 - 1.3 * s * s) + 0.012 * t
    half = look.brow_thick * (1.0 - 0.62 * wp.max(t, 0.0)) * wp.smoothstep(-0.12, 0.14, t)
    hairs = noise(pictures, 1, c[0] * 1.7 + (c[1] - y) * 1.6, c[1] * 0.35)
    d = wp.abs(c[1] - y) / wp.max(half, 0.004) + (hairs - 0.5) * 0.55
    ends = wp.smoothstep(1.08, 0.9, t)
    return (1.0 - wp.smoothstep(0.55, 1.25, d)) * ends * look.brow_dense


@wp.func
def crease(look: Look, c: wp.vec3) -> float:
    """Darkening by folds: furrows between the brows, forehead lines, nasolabial folds, crow's feet, nose wrinkles."""
    x = wp.abs(c[0])
    y = c[1]
    out = float(0.0)
    if c[2] > 0.1:
        age = look.wrinkles
        out += (look.furrow + 0.35 * age) * bump(x, 0.055, 0.022) * bump(y, 0.16, 0.085)
        lines = 0.5 + 0.5 * wp.cos((y + 0.05 * x * x - 0.30) * 62.0)
        out += (look.raised + 0.4 * age) * lines * lines * bump(y, 0.42, 0.14) * wp.smoothstep(0.55, 0.3, x) * 0.75
        t = (-0.40 - y) / 0.34
        if t > -0.1 and t < 1.25:
            fold = 0.205 + 0.13 * t + 0.03 * t * t
            out += (look.smile + 0.45 * age + 0.12) * bump(x, fold, 0.03) * wp.smoothstep(-0.1, 0.2, t) * (
                wp.smoothstep(1.25, 0.75, t))
        feet = 0.5 + 0.5 * wp.cos((y + 0.02) * 75.0 + (x - 0.5) * 6.0)
        out += (look.squint + 0.4 * age) * feet * feet * bump(x, 0.555, 0.05) * bump(y, -0.02, 0.09) * 0.8
        out += (0.25 * look.squint + 0.4 * age + 0.1) * bump(y, -0.115 - 0.25 * (x - 0.33) * (x - 0.33), 0.022) * (
            bump(x, 0.33, 0.13))
        across = 0.5 + 0.5 * wp.cos((y - 0.3 * x) * 80.0)
        out += look.sneer * across * across * bump(x, 0.06, 0.07) * bump(y, -0.05, 0.09)
    return wp.min(out, 1.0)


@wp.func
def lit(look: Look, p: wp.vec3, n: wp.vec3, shadow: wp.array3d(dtype=wp.int64), b: int) -> float:
    """Share of the key light that arrives, in [0,1]: four taps of the shadow map."""
    d = p + 0.06 * n - look.shadow_centre  # off the surface, or it would shadow itself at grazing light
    size = float(SHADOW_SIZE)
    u = size * (0.5 + 0.5 * wp.dot(d, look.shadow_across) / SHADOW_REACH) - 0.5
    v = size * (0.5 - 0.5 * wp.dot(d, look.shadow_up) / SHADOW_REACH) - 0.5
    depth = 8.0 + wp.dot(d, look.key_direction) + 0.03
    x = int(wp.floor(u))
    y = int(wp.floor(v))
    if x < 0 or y < 0 or x >= SHADOW_SIZE - 1 or y >= SHADOW_SIZE - 1:
        return 1.0
    fx = u - float(x)
    fy = v - float(y)
    total = float(0.0)
    for j in range(2):
        for i in range(2):
            key = shadow[b, y + j, x + i]
            near = wp.cast(wp.int32(key >> wp.int64(32)), wp.float32)
            weight = (float(i) * fx + float(1 - i) * (1.0 - fx)) * (float(j) * fy + float(1 - j) * (1.0 - fy))
            if depth > near:
                total += weight
    return total


@wp.func
def ambient(look: Look, n: wp.vec3) -> wp.vec3:
    up = 0.5 + 0.5 * n[1]
    return look.ground * (1.0 - up) + look.sky * up


@wp.func
def glint(n: wp.vec3, light: wp.vec3, view: wp.vec3, doublings: int) -> float:
    """Blinn-Phong highlight with exponent 2**doublings."""
    x = wp.max(wp.dot(n, wp.normalize(light + view)), 0.0)
    for i in range(doublings):
        x = x * x
    return x


@wp.func
def wrap(n: wp.vec3, light: wp.vec3, soft: wp.vec3) -> wp.vec3:
    """Diffuse light that bleeds past the terminator, more so in red: the cheap look of light under the skin."""
    d = wp.dot(n, light)
    return wp.vec3(wp.max((d + soft[0]) / (1.0 + soft[0]), 0.0), wp.max((d + soft[1]) / (1.0 + soft[1]), 0.0),
                   wp.max((d + soft[2]) / (1.0 + soft[2]), 0.0))


@wp.func
def shade_skin(look: Look, c: wp.vec3, round_head: float, marks: wp.vec4, hair: float, n: wp.vec3, view: wp.vec3,
               sun: float, pictures: wp.array3d(dtype=float)) -> wp.vec3:
    u = round_head * 0.8 + look.noise_u
    v = c[1] * 0.6 + look.noise_v
    blotch = noise(pictures, 0, u, v) - 0.5
    fine = noise(pictures, 2, u * 4.0, v * 4.0) - 0.5
    albedo = look.skin * (1.0 + look.blotches * blotch * 0.5 + 0.10 * fine)
    x = wp.abs(c[0])
    red = look.blush * (bump(x, 0.45, 0.24) * bump(c[1], -0.34, 0.2) + 0.9 * bump(x, 0.0, 0.15) * bump(c[1], -0.42, 0.12)
                        ) * wp.smoothstep(0.0, 0.3, c[2]) + 0.5 * marks[2] + 0.3 * look.blotches * blotch
    red = wp.clamp(red, 0.0, 1.0)
    albedo = wp.cw_mul(albedo, wp.vec3(1.0, 1.0, 1.0) * (1.0 - red) + look.flush * red)
    if look.freckles > 0.01 and c[2] > 0.0:
        spots = noise(pictures, 3, u * 3.0, v * 3.0)
        where = bump(x, 0.25, 0.4) * bump(c[1], -0.2, 0.3)
        albedo = albedo * (1.0 - 0.45 * look.freckles * where * wp.smoothstep(0.62, 0.8, spots))
    if look.stubble > 0.01 and c[1] < -0.2:
        chin = wp.smoothstep(-0.42, -0.6, c[1] - 0.45 * x * x) * wp.smoothstep(-1.3, -1.15, c[1]) * wp.smoothstep(
            -0.35, -0.1, c[2]) * (1.0 - marks[1])
        shade = look.stubble * chin * (0.75 + 0.5 * fine)
        albedo = albedo * (1.0 - 0.62 * shade) + look.beard * (0.35 * shade)
    lips = wp.smoothstep(0.35, 0.65, marks[1])
    albedo = albedo * (1.0 - lips) + look.lip * (lips * (1.0 + 0.25 * fine))
    albedo = albedo * (1.0 - hair) + look.brow * hair
    rim = wp.smoothstep(0.1, 0.8, marks[3]) * look.lashes
    albedo = albedo * (1.0 - rim)
    fold = crease(look, c)
    free = marks[0] * marks[0] * 0.35 + marks[0] * 0.65
    soft = wp.vec3(0.38, 0.22, 0.16)
    light = wp.cw_mul(look.key, wrap(n, look.key_direction, soft)) * (0.12 + 0.88 * sun) + wp.cw_mul(
        look.fill, wrap(n, look.fill_direction, soft)) * (0.3 + 0.7 * free)
    light += ambient(look, n) * free
    light = light * (1.0 - 0.5 * fold)
    gloss = look.gloss * (0.75 + 0.5 * fine) * (1.0 - 0.8 * hair) * (1.0 + 0.8 * lips)
    facing = wp.max(wp.dot(n, view), 0.0)
    grazing = (1.0 - facing) * (1.0 - facing)
    fresnel = 0.6 + 1.8 * grazing * grazing
    shine = look.key * (glint(n, look.key_direction, view, 4) * sun * gloss * fresnel)
    shine += look.fill * (glint(n, look.fill_direction, view, 4) * 0.6 * gloss * fresnel * free)
    return wp.cw_mul(albedo, light) + shine


@wp.func
def shade_eye(look: Look, p: wp.vec3, view: wp.vec3, free: float, sun: float) -> wp.vec3:
    centre = look.eye_left
    gaze = look.gaze_left
    if wp.length_sq(p - look.eye_right) < wp.length_sq(p - look.eye_left):
        centre = look.eye_right
        gaze = look.gaze_right
    n = wp.normalize(p - centre)
    away = wp.acos(wp.clamp(wp.dot(n, gaze), -1.0, 1.0)) / look.iris_size
    white = wp.vec3(0.72, 0.68, 0.64) * (1.0 - 0.12 * wp.smoothstep(1.0, 3.0, away))
    inside = 1.0 - wp.smoothstep(0.93, 1.04, away)
    ring = 0.35 + 0.9 * wp.smoothstep(0.25, 0.7, away) * (1.0 - 0.75 * wp.smoothstep(0.72, 1.0, away))
    pupil = 1.0 - wp.smoothstep(look.pupil - 0.07, look.pupil + 0.05, away)
    colour = look.iris * ring * (1.0 - pupil) + wp.vec3(0.006, 0.006, 0.006) * pupil
    albedo = white * (1.0 - inside) + colour * inside
    dim = wp.smoothstep(0.0, 0.85, free) * 0.8 + 0.2
    soft = wp.vec3(0.5, 0.45, 0.45)
    light = wp.cw_mul(look.key, wrap(n, look.key_direction, soft)) * (0.35 + 0.65 * sun) + wp.cw_mul(
        look.fill, wrap(n, look.fill_direction, soft)) + ambient(look, n)
    cornea = wp.normalize(n + 0.55 * inside * (n - gaze))
    spot = look.key * (glint(cornea, look.key_direction, view, 7) * 2.2) + look.fill * (
        glint(cornea, look.fill_direction, view, 6) * 0.35)
    return (wp.cw_mul(albedo, light) * dim) + spot * wp.min(dim, 1.0)


@wp.func
def shade_hair(look: Look, colour: wp.vec3, at: wp.vec2, cover: float, free: float, n: wp.vec3, view: wp.vec3, sun: float,
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
    return wp.cw_mul(albedo, light) * deep + wp.cw_mul(look.key, colour * 0.6 + wp.vec3(0.05, 0.05, 0.05)) * (shine * sun)


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
    if kind == 0:
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
    if kind == 1 or kind == 10:
        return 11
    if kind == 2:
        if left:
            return 4
        return 5
    if kind == 3 or kind == 4 or kind == 7:
        return 8
    if kind == 6 or kind == 8:
        return 10
    if kind == 9:
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
    """Colour and part of each pixel: the mean over points of a samples x samples grid; the part is the middle point's."""
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
                if k == 6 or k == 8 or k == 10:  # seen from either side
                    if wp.dot(n, view) < 0.0:
                        n = -n
                sun = lit(look, p, n, shadow, b)
                brow = float(0.0)
                bald = k == 8 and look.hair_is_skin > 0
                if k <= 1 or bald:
                    brow = brow_cover(look, c, pictures)
                    colour = shade_skin(look, c, at[0], m, brow, n, view, sun, pictures)
                elif k == 2:
                    colour = shade_eye(look, p, view, m[0], sun)
                elif k == 3:
                    deep = wp.smoothstep(0.2, 0.62, c[2])
                    light = look.key * (0.3 + 0.5 * wp.max(wp.dot(n, look.key_direction), 0.0)) + look.sky + look.fill * 0.4
                    colour = wp.cw_mul(wp.vec3(0.62, 0.57, 0.48), light) * (0.10 + 0.62 * deep)
                elif k == 4 or k == 7:
                    deep = wp.smoothstep(0.25, 0.75, c[2])
                    light = look.key * wp.max(wp.dot(n, look.key_direction), 0.0) * 0.5 + look.sky + look.fill * 0.3
                    colour = wp.cw_mul(wp.vec3(0.26, 0.07, 0.06), light) * (0.04 + 0.5 * deep * deep)
                elif k == 9:
                    colour = shade_hair(look, look.beard, at, 0.5, m[0], n, view, sun, pictures)
                elif k == 6 or k == 8:
                    q = person[b]
                    deep = wa * cover[q, ia] + wb * cover[q, ib] + wc * cover[q, ic]
                    colour = shade_hair(look, look.hair, at, deep, m[0], n, view, sun, pictures)
                elif k == 10:
                    colour = shade_cloth(look, c, n, sun, pictures)
                else:
                    d = wp.max(wp.dot(n, look.key_direction), 0.0)
                    colour = wp.cw_mul(look.frame, look.key * d + look.fill * 0.4 + look.sky) + look.key * (
                        0.5 * glint(n, look.key_direction, view, 5))
                if bald:
                    k = 0
                part = mask_of(k, c, m, brow)
            if i == j and i == samples / 2:
                label = part
            e = look.exposure
            total += wp.vec3(shoulder(colour[0] * e), shoulder(colour[1] * e), shoulder(colour[2] * e))
    total = total / count
    for channel in range(3):
        image[b, row, column, channel] = wp.uint8(wp.clamp(srgb(total[channel]) * 255.0 + 0.5, 0.0, 255.0))
    mask[b, row, column] = wp.uint8(label)
