"""Embeddings, reranking, images, transcriptions and speech, as the providers play them."""
