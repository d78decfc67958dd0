"""Face embedders in torch, with alignment: the gradient of an identity loss reaches the pixels."""

from hia.models.face.embedder import (
    ARCFACE_TEMPLATE,
    FaceEmbedder,
    align_faces,
    load_face_embedder,
    similarity_transform,
)
from hia.models.face.iresnet import IResNet, iresnet_from_onnx
from hia.models.face.mobilefacenet import MobileFaceNet

__all__ = [
    "ARCFACE_TEMPLATE",
    "FaceEmbedder",
    "IResNet",
    "MobileFaceNet",
    "align_faces",
    "iresnet_from_onnx",
    "load_face_embedder",
    "similarity_transform",
]
