"""imagecorruptions at work, in an environment of its own (it needs numpy < 2): started by bench_corruptions.py.

    python imagecorruptions_reference.py REQUESTS

Reads lines of JSON and answers each with one: {"do": "time", ...} or {"do": "psnr", ...}. Nothing of lib is imported here.

At 64 px the parameters of Tiny-ImageNet-C take the place of the lists in its source, so that both sides are compared at the
same parameters. Its elastic_transform is another one than ImageNet-C's (milder, without the affine part): for the distance
to the clean image ImageNet-C's own steps are made here with OpenCV and SciPy, for the time its own function is run.
"""

import ast
import inspect
import json
import multiprocessing
import sys
import time
import warnings

import cv2
import imagecorruptions.corruptions as theirs
import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates
from skimage.filters import gaussian

warnings.filterwarnings("ignore")
cv2.setNumThreads(1)


def renamed(image, *args, multichannel=False, **more):
    """scikit-image's gaussian under the argument that it had when imagecorruptions was written."""
    return gaussian(image, *args, channel_axis=-1 if multichannel else None, **more)


theirs.gaussian = renamed


def with_levels(name, levels):
    """Its function with other levels: the first list that is indexed by the severity is replaced."""
    tree = ast.parse(inspect.getsource(getattr(theirs, name)))

    class Swap(ast.NodeTransformer):
        def visit_Subscript(self, node):
            self.generic_visit(node)
            if isinstance(node.value, ast.List) and "severity" in ast.dump(node.slice):
                node.value = ast.Name("LEVELS", ast.Load())
            return node

    space = {**vars(theirs), "LEVELS": levels}
    exec(compile(ast.fix_missing_locations(Swap().visit(tree)), name, "exec"), space)
    return space[name]


def elastic(levels):
    """ImageNet-C's elastic_transform by its steps: an affine map of three moved points, then a smoothed displacement."""

    def run(image, severity):
        image = np.asarray(image, dtype=np.float32) / 255
        height, width = image.shape[:2]
        strength, smooth, shift = levels[severity - 1]
        centre, reach = np.float32([height, width]) // 2, min(height, width) // 3
        fixed = np.float32([centre + reach, [centre[0] + reach, centre[1] - reach], centre - reach])
        moved = fixed + np.random.uniform(-shift, shift, fixed.shape).astype(np.float32)
        image = cv2.warpAffine(image, cv2.getAffineTransform(fixed, moved), (width, height), borderMode=cv2.BORDER_REFLECT_101)
        dx, dy = (
            (gaussian(np.random.uniform(-1, 1, (height, width)), smooth, mode="reflect", truncate=3) * strength)[..., None]
            for _ in range(2)
        )
        x, y, z = np.meshgrid(np.arange(width), np.arange(height), np.arange(3))
        places = np.reshape(y + dy, (-1, 1)), np.reshape(x + dx, (-1, 1)), np.reshape(z, (-1, 1))
        return np.clip(map_coordinates(image, places, order=1, mode="reflect").reshape(image.shape), 0, 1) * 255

    return run


def function_of(request):
    name, levels = request["name"], request.get("levels")
    if name == "elastic_transform" and request["do"] == "psnr":
        return elastic(levels)
    if name == "zoom_blur" and levels:
        return with_levels(name, [1 + step * np.arange(round(count)) for count, step in levels])
    if levels is None or name == "elastic_transform":
        return getattr(theirs, name)
    levels = [tuple(int(value) if float(value).is_integer() else value for value in row) for row in levels]
    levels = [row[0] if len(row) == 1 else row for row in levels]
    return with_levels(name, levels)


def corrupted(function, image, severity):
    return np.uint8(np.clip(np.array(function(Image.fromarray(image), severity=severity)), 0, 255))


def prepare(request):
    global JOB
    JOB = request["severity"], function_of(request), np.load(request["images"])


def share(part):
    """The images of one process, one after the other. They stay there: sending them back is no part of corrupting."""
    severity, function, images = JOB
    for image in images[part]:
        corrupted(function, image, severity)


def timed(request):
    """Seconds of a batch dealt out over the processes, each with its share of ``runs`` batches queued; the least of three."""
    count = len(np.load(request["images"]))
    with multiprocessing.get_context("fork").Pool(request["processes"], prepare, (request,)) as pool:
        parts = [slice(i, None, request["processes"]) for i in range(request["processes"])]
        parts = [slice(i * count // len(parts), (i + 1) * count // len(parts)) for i in range(len(parts))]
        pool.map(share, parts, chunksize=1)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            pool.map(share, parts * request["runs"], chunksize=1)
            times.append((time.perf_counter() - began) / request["runs"])
    return {"seconds": min(times)}


def distance(request):
    """PSNR of every image, averaged over the draws."""
    np.random.seed(0)
    prepare(request)
    severity, function, images = JOB
    found = []
    for _ in range(request["draws"]):
        for image in images:
            error = (corrupted(function, image, severity) / 255 - image / 255) ** 2
            found.append(-10 * np.log10(max(error.mean(), 1e-12)))
    return {"psnr": float(np.mean(found))}


if __name__ == "__main__":
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"time": timed, "psnr": distance}[request["do"]](request)), flush=True)
