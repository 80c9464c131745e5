# A bucket for Lakebed and the policy of its nodes.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "bucket" {
  description = "Name of the bucket to create."
  type        = string
}

variable "prefix" {
  description = "Everything of one cluster is kept below this prefix, as in --store s3://bucket/prefix."
  type        = string
  default     = "lakebed"
}

resource "aws_s3_bucket" "lakebed" {
  bucket = var.bucket
}

# Objects are written once; old versions of CURRENT, and of what is deleted, would only cost.
resource "aws_s3_bucket_versioning" "lakebed" {
  bucket = aws_s3_bucket.lakebed.id
  versioning_configuration {
    status = "Disabled"
  }
}

resource "aws_s3_bucket_public_access_block" "lakebed" {
  bucket                  = aws_s3_bucket.lakebed.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# Only cleaning needs s3:DeleteObject, and it is off unless turned on: until then it may be left out. There are no
# versions, so s3:DeleteObjectVersion is not needed.
data "aws_iam_policy_document" "node" {
  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${aws_s3_bucket.lakebed.arn}/${var.prefix}/*"]
  }
  # Nothing but garbage is found by listing; but to who may not list, S3 answers 403 instead of 404 for an object that does not exist.
  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.lakebed.arn]
  }
}

resource "aws_iam_policy" "node" {
  name_prefix = "lakebed-node-"
  policy      = data.aws_iam_policy_document.node.json
}

output "store" {
  description = "What to start nodes with: lakebed --store …"
  value       = "s3://${aws_s3_bucket.lakebed.bucket}/${var.prefix}"
}

output "policy_arn" {
  description = "Attach it to the role of the nodes."
  value       = aws_iam_policy.node.arn
}
