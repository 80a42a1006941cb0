"""Small sound outputs of what measures cells: Xenium, and Visium HD with segmented cells."""

import json

import numpy as np

from benchmarks.faults.bases import SPOTS, Files, spots, tenx_matrix

PIXEL_UM = 0.2125


def xenium() -> Files:
    """Return an output of Xenium whose cells lie on the picture, its table once as parquet and once as CSV."""
    table = spots()
    x, y = PIXEL_UM * table.obsm["spatial"].T
    cells = table.obs[[]].assign(x_centroid=x, y_centroid=y, cell_area=50.0, nucleus_area=20.0)
    cells.index.name = "cell_id"
    about = {"major_version": 5, "pixel_size": PIXEL_UM, "analysis_sw_version": "xenium-3.1.0.4"}
    shared = {
        "experiment.xenium": json.dumps(about).encode(),
        "cell_feature_matrix.h5": tenx_matrix(),
        "a_he_imagealignment.csv": b"1,0,0\n0,1,0\n0,0,1\n",
    }
    points = "fixedX,fixedY,alignmentX,alignmentY\n0,0,0,0\n99,0,99,0\n0,99,0,99\n99,99,99,99\n"
    packed = {"cells.parquet": cells.reset_index().to_parquet(index=False)}
    plain = {"cells.csv": cells.to_csv().encode(), "a_he_imagealignment.csv": points.encode()}
    return {f"parquet/{name}": content for name, content in (shared | packed).items()} | {
        f"csv/{name}": content for name, content in (shared | plain).items()
    }


def segmented_cells() -> Files:
    """Return the segmented cells of Visium HD."""
    names = [f"cellid_{number:09d}-1" for number in range(SPOTS)]
    corners = np.array([[-9, -9], [9, -9], [9, 9], [-9, 9], [-9, -9]])
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [(corners + centre).tolist()]},
            "properties": {"cell_id": number, "classification": {"name": "Cluster 1"}},
        }
        for number, centre in enumerate(spots().obsm["spatial"])
    ]
    return {
        "filtered_feature_cell_matrix.h5": tenx_matrix(names),
        "cell_segmentations.geojson": json.dumps({"type": "FeatureCollection", "features": features}).encode(),
        "spatial/scalefactors_json.json": json.dumps({"microns_per_pixel": 0.5}).encode(),
    }
