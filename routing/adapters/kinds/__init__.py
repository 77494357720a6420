"""What is not chat: embeddings, reranking, images, transcriptions and speech."""
