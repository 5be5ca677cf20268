"""Skin, brows and eyes in the shading kernel.

Marks (brows, freckles, stubble, furrows) are written in the coordinates of the mean head, so they stay where they
belong under every shape and expression.
"""

import warp as wp

from lib.faces.light import ambient, glint, wrap
from lib.faces.look import Look
from lib.faces.raster import noise


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
def shade_skin(look: Look, c: wp.vec3, round_head: float, marks: wp.vec4, hair: float, n: wp.vec3, view: wp.vec3,
               sun: float, pictures: wp.array3d(dtype=float)) -> wp.vec3:
    u = round_head * 0.8 + look.noise_u
    v = c[1] * 0.6 + look.noise_v
    blotch = noise(pictures, 0, u, v) - 0.5
    fine = noise(pictures, 2, u * 4.0, v * 4.0) - 0.5
    albedo = look.skin * (1.0 + look.blotches * blotch * 0.5 + 0.10 * fine)
    x = wp.abs(c[0])
    cheeks = bump(x, 0.45, 0.24) * bump(c[1], -0.34, 0.2)
    nose = bump(x, 0.0, 0.15) * bump(c[1], -0.42, 0.12)
    red = look.blush * (cheeks + 0.9 * nose) * wp.smoothstep(0.0, 0.3, c[2])
    red += 0.5 * marks[2] + 0.3 * look.blotches * blotch
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
