"""Small sound outputs of other programs: Xenium, cells of Visium HD, SpatialData, and tables of predicted values."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from benchmarks.faults.bases import SPOTS, Files, all_files, lean_h5ad, picture, spots, tenx_matrix, written

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


def spatialdata_store() -> Files:
    """Return a SpatialData store of circles on a picture, with their table, as spatialdata writes it."""
    import tempfile
    import warnings

    import spatialdata
    from spatialdata.models import Image2DModel, ShapesModel, TableModel

    table = spots()
    table = AnnData(table.X, table.obs[[]], table.var)
    table.obs["spot_id"], table.obs["region"] = np.arange(SPOTS), pd.Categorical(["spots"] * SPOTS)
    circles = ShapesModel.parse(spots().obsm["spatial"], geometry=0, radius=20.0, index=pd.RangeIndex(SPOTS))
    image = Image2DModel.parse(picture().transpose(2, 0, 1), dims=("c", "y", "x"), c_coords=["r", "g", "b"])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = TableModel.parse(table, region="spots", region_key="region", instance_key="spot_id")
        store = spatialdata.SpatialData(images={"he": image}, shapes={"spots": circles}, tables={"table": parsed})
        store.write(Path(folder) / "s.zarr")
        return all_files(Path(folder))


def predicted() -> Files:
    """Return measured spots, and what another tool predicted at them as h5ad, CSV, TSV and parquet."""
    table = spots()
    values = np.log1p(table.X.toarray())
    frame = pd.DataFrame(values, table.obs_names, table.var_names)
    of_tool = AnnData(values, table.obs[[]], table.var[[]], obsm={"spatial": table.obsm["spatial"]})
    return {
        **lean_h5ad(),
        "p.h5ad": written(of_tool.write_h5ad),
        "p.csv": frame.to_csv().encode(),
        "p.tsv": frame.T.to_csv(sep="\t").encode(),
        "p.parquet": frame.reset_index(names="barcode").to_parquet(index=False),
    }
