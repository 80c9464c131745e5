#!/bin/sh
# Run by the container once it is ready.
exec awslocal s3api create-bucket --bucket lakebed
