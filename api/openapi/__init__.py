"""What does the OpenAPI document say beyond the routes?"""
